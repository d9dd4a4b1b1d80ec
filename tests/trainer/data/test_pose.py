"""The pose of good parts: what is fitted, what is not worth turning, and why there is none."""

import numpy as np
import pytest
from parts import ROD, picture, together

from edge_occ.bundle.pose import PoseOutcome, turn
from edge_occ.common.images import find_images, read_image
from trainer.data.pose import pose_of


def pictures(*args, count=12, turned=True, **kwargs):
    """Pictures of one part, each with its own direction, place and noise."""
    random = np.random.default_rng(len(args))
    for index in range(count):
        degrees = 360 / count * index + random.uniform(-10, 10) if turned else random.uniform(-2, 2)
        image = picture(*args, degrees=degrees, centre=tuple(random.uniform(118, 138, 2)), **kwargs).astype(float)
        yield np.clip(image + random.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def disc(seed):
    y, x = np.indices((200, 200)) - np.random.default_rng(seed).uniform(90, 110, (2, 1, 1))
    return np.where((x * x + y * y < 1600)[..., None], 60, 200).astype(np.uint8).repeat(3, 2)


def test_parts_in_any_direction_are_turned():
    fit = pose_of(pictures())
    assert fit.worthwhile
    assert fit.missing == ()
    assert fit.reason == "parts with different ends lie in several directions"
    pose = fit.pose
    # The part has 120 x 36 pixels, with a margin of a sixteenth of its length on each side.
    assert 130 <= pose.width <= 142
    assert 46 <= pose.height <= 58
    assert pose.side == 256
    for image in pictures():
        assert turn(image, pose, (1000, 1000))[0].shape == (pose.height, pose.width, 3)


def test_parts_that_lie_in_one_direction_have_a_pose_that_auto_does_not_take():
    fit = pose_of(pictures(turned=False))
    assert fit.pose is not None
    assert not fit.varies
    assert not fit.worthwhile
    assert fit.reason == "parts with different ends lie in one direction"


def test_parts_whose_ends_are_alike_have_an_axis_without_direction():
    fit = pose_of(pictures(ROD))
    assert fit.pose.skewness is None
    assert fit.varies
    assert not fit.worthwhile
    assert fit.reason == "parts with ends that are alike lie in several directions"


def test_round_parts_have_no_pose():
    fit = pose_of(disc(seed) for seed in range(9))
    assert fit.pose is None
    assert not fit.worthwhile
    assert fit.reason == "the parts are round: their elongation is 0.00"


def test_textures_have_no_pose():
    noise = np.random.default_rng(0).integers(0, 256, (9, 96, 96, 3), dtype=np.uint8)
    assert pose_of(noise).reason == "9 of 9 images show no part before a plain ground"


def test_images_without_the_pose_of_the_others_are_named():
    images = list(pictures())
    images[3] = np.full((256, 256, 3), 200, np.uint8)
    images[7] = together(picture(centre=(128, 60)), picture(centre=(128, 190)))
    fit = pose_of(images)
    assert [(index, found.outcome) for index, found in fit.missing] == [
        (3, PoseOutcome.NO_PART),
        (7, PoseOutcome.SEVERAL),
    ]
    assert fit.worthwhile


@pytest.mark.parametrize(("at_edge", "given_up"), [(3, False), (4, True)])
def test_a_pose_that_a_third_of_the_images_lack_is_given_up(at_edge, given_up):
    images = list(pictures())
    for index in range(at_edge):
        images[index] = picture(degrees=15 * index, centre=(20, 128))
    fit = pose_of(images)
    assert (fit.pose is None) is given_up
    if given_up:
        assert fit.reason == "4 of 12 images have none, mostly: part at the edge"


def test_the_contrast_is_one_at_which_shadows_do_not_count():
    def shaded(image, index):
        # The light comes from above, so the shadow is on another side of each part.
        shadow = np.roll(image, 9, axis=0).astype(int)
        dark = 100 if index % 2 else 130
        return np.minimum(image, np.where(shadow < 190, dark, 200)).astype(np.uint8)

    plain, fit = pose_of(pictures()), pose_of(shaded(image, i) for i, image in enumerate(pictures()))
    assert plain.pose.contrast == 0.5
    assert fit.pose.contrast > 0.5
    assert abs(fit.pose.height - plain.pose.height) <= 4


def test_small_parts_are_searched_in_frames_with_more_pixels():
    images = [
        picture(degrees=80 * index, centre=(300, 260), shape=(560, 640), scale=0.7, ground=190) for index in range(4)
    ]
    fit = pose_of(images)
    assert fit.pose.side == 512
    assert fit.worthwhile


@pytest.mark.data
@pytest.mark.parametrize(
    ("category", "reason"),
    [
        ("screw", "parts with different ends lie in several directions"),
        ("pill", "parts with ends that are alike lie in one direction"),
        ("bottle", "the parts are round: their elongation is 0.01"),
        ("toothbrush", "12 of 12 images have none, mostly: part at the edge"),
    ],
)
def test_real_parts(shared_data, category, reason):
    paths = find_images(shared_data / "mvtec_ad" / category / "train" / "good")
    fit = pose_of(read_image(path) for path in paths[:: len(paths) // 12][:12])
    assert fit.reason == reason
    assert fit.worthwhile is (category == "screw")
