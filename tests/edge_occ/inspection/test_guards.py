"""Guards, one by one and together, on frames of their own and on real parts."""

from datetime import datetime, timezone
from functools import lru_cache

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.provenance import Exposure
from edge_occ.common.decoding import decode_image
from edge_occ.common.exposure import Light
from edge_occ.common.images import find_images, read_image
from edge_occ.inspection.guards import Guards, GuardsConfig
from edge_occ.sources.faults import Reason
from edge_occ.sources.frame import Frame
from trainer.data.traits import ImageTraits, Traits

EXPOSURE = Exposure(mean=(90, 110), deviation=(28, 33), repeated_rows=0.05, sharpness=0.3)


LIT = EXPOSURE.model_copy(update={"levels": ((50, 60), (90, 110), (130, 150))})
"""The same with measured levels."""


def part(seed=0, level=100.0, contrast=30.0, side=64):
    noise = np.random.default_rng(seed).normal(level, contrast, (side, side, 3))
    return np.rint(noise).clip(0, 255).astype(np.uint8)


def frame(image, at=0.0, name=None, index=0):
    return Frame(index, datetime.now(timezone.utc), at, image, name)


def reason(image, light=EXPOSURE, colour=True, **settings):
    size = image.shape[:2] if isinstance(image, np.ndarray) else None
    fault = Guards(GuardsConfig(**settings), light, colour, size).check(frame(image))
    return None if fault is None else fault.reason


def fill(share, value=128):
    """The lower ``share`` of the rows has one value, as a decoder leaves it."""
    image = part()
    image[round(64 * (1 - share)) :] = value
    return image


def test_a_part_passes_all_guards():
    guards = Guards(GuardsConfig(), EXPOSURE, True, (64, 64))
    assert [guards.check(frame(part(seed), at=seed)) for seed in range(30)] == [None] * 30


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (part(level=2, contrast=2), Reason.BLACK),
        (np.zeros((64, 64, 3), np.uint8), Reason.BLACK),
        (part(level=252, contrast=2), Reason.WHITE),
        (np.full((64, 64, 3), 255, np.uint8), Reason.WHITE),
        (np.full((64, 64, 3), (255, 0, 0), np.uint8), Reason.UNIFORM),
        (np.repeat(part()[:, :, :1], 3, axis=2), Reason.GREY),
        (fill(0.5), Reason.TORN),
        (fill(0.2, (0, 135, 0)), Reason.TORN),
        (cv2.GaussianBlur(part(contrast=90), (0, 0), 4), Reason.BLURRED),
    ],
)
def test_each_fault_has_its_reason_and_can_be_switched_off(image, expected):
    assert reason(image) is expected
    assert reason(image, **{expected.value: False}) is not expected


def test_a_repeated_row_is_torn_wherever_it_is():
    image = part()
    image[8:24] = image[8]
    assert reason(image) is Reason.TORN


@pytest.mark.parametrize(
    "image",
    [
        part(level=30),  # darker, but as rich in contrast
        part(level=100, contrast=5),  # flat, but as bright: an empty conveyor
        part(level=40, contrast=5),
        fill(0.15),  # no more than 5 % + an eighth
    ],
)
def test_what_may_be_a_part_is_scored(image):
    assert reason(image) is None


def test_without_knowledge_of_the_training_only_uniform_and_frozen_are_found():
    for image in (
        part(level=2, contrast=2),
        part(level=252, contrast=2),
        fill(0.5),
        part()[:, :, :1].repeat(3, axis=2),
    ):
        assert reason(image, None, None) is None
    assert reason(np.zeros((64, 64, 3), np.uint8), None, None) is Reason.UNIFORM


@pytest.mark.parametrize("sharpness", [None, 0.005])
def test_no_frame_is_blurred_where_the_training_images_were_not_measured_or_are_blurred_themselves(sharpness):
    image = cv2.GaussianBlur(part(contrast=90), (0, 0), 4)
    assert reason(image, EXPOSURE.model_copy(update={"sharpness": sharpness})) is None


def test_no_file_of_another_size_is_blurred():
    """A larger frame of the same part has smoother edges."""
    image = cv2.GaussianBlur(part(contrast=90), (0, 0), 4)
    for size in (None, (64, 65), (128, 128)):
        assert Guards(GuardsConfig(), EXPOSURE, True, size).check(frame(image, name="a.png")) is None


@pytest.mark.parametrize("size", [(64, 65), (128, 128), (32, 32)])
def test_a_camera_that_gives_another_size_is_a_fault(size):
    fault = Guards(GuardsConfig(), EXPOSURE, True, size).check(frame(part()))
    assert fault.reason is Reason.SIZE
    assert f"64x64 pixels, but the training images had {size[1]}x{size[0]}" in fault.detail
    assert Guards(GuardsConfig(size=False), EXPOSURE, True, size).check(frame(part())) is None
    assert Guards(GuardsConfig(), EXPOSURE, True, size).check(frame(part(), name="a.png")) is None


def test_any_size_passes_where_those_of_the_training_images_differed():
    assert Guards(GuardsConfig(), EXPOSURE, True, None).check(frame(part())) is None


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (part(level=40, contrast=15), Reason.EXPOSURE),  # levels 21, 40, 59
        (part(level=30, contrast=20), Reason.EXPOSURE),
        (part(level=215, contrast=15), Reason.EXPOSURE),
        (part(level=60), None),  # the middle has more than half
        (np.concatenate([part(level=5, contrast=4)[:50], part()[:14]]), None),  # a dark defect leaves the highlights
        (part(level=150), None),
    ],
)
def test_all_levels_at_half_of_the_light_are_a_wrong_exposure(image, expected):
    assert reason(image, LIT) is expected
    assert reason(image, LIT, exposure=False) is None
    assert reason(image, EXPOSURE) is None, "levels were not measured"


def test_parts_on_black_cannot_be_too_dark_nor_those_on_white_too_bright():
    on_black = EXPOSURE.model_copy(update={"levels": ((3, 60), (90, 110), (130, 150))})
    on_white = EXPOSURE.model_copy(update={"levels": ((50, 60), (90, 110), (130, 250))})
    assert reason(part(level=30), on_black) is None
    assert reason(part(level=215, contrast=15), on_white) is None


@given(st.integers(0, 20), st.floats(0.05, 1))
def test_a_frame_of_less_light_is_at_fault_below_half_of_it(seed, gain):
    """Against the definition, with the exposure of one picture."""
    image = part(seed, 120, 20)
    dimmed = np.rint(image * gain).astype(np.uint8)
    found = reason(dimmed, Exposure.of([Light.of(image)]), None)
    half = all(a <= b / 2 for a, b in zip(Light.of(dimmed).levels, Light.of(image).levels, strict=True))
    assert found in ({Reason.EXPOSURE, Reason.BLACK} if half else {None})


def test_uniform_frames_pass_where_a_training_image_was_uniform():
    exposure = Exposure(mean=(0, 110), deviation=(0, 33), repeated_rows=1)
    assert reason(np.full((64, 64, 3), 90, np.uint8), exposure, False) is None


@pytest.mark.parametrize("colour", [False, None])
def test_grey_frames_pass_where_not_every_training_image_had_colours(colour):
    assert reason(np.repeat(part()[:, :, :1], 3, axis=2), colour=colour) is None


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16), np.zeros((0, 4, 3), np.uint8), None]
)
def test_what_is_no_frame_is_left_to_the_scoring(image):
    assert reason(image) is None


def test_pictures_and_videos_are_never_frozen():
    image = part()
    for name, expected in (("a.png", None), (None, Reason.FROZEN)):
        guards = Guards(GuardsConfig(frozen_frames=3, frozen_seconds=1), EXPOSURE, True, (64, 64))
        faults = [guards.check(frame(image, at=at, name=name)) for at in range(5)]
        assert (faults[-1] and faults[-1].reason) is expected


def test_a_frozen_black_frame_is_black_and_the_next_live_one_is_good():
    guards = Guards(GuardsConfig(frozen_frames=1, frozen_seconds=0), EXPOSURE, True, (64, 64))
    black = np.zeros((64, 64, 3), np.uint8)
    faults = [guards.check(frame(black, at=at)) for at in range(4)]
    assert {fault.reason for fault in faults} == {Reason.BLACK}
    assert guards.check(frame(part(), at=5)) is None


@lru_cache
def guards_of(normal):
    """Guards that know these images."""
    images = [ImageTraits.of(decode_image(path)) for path in normal]
    traits, sizes = Traits.of(images), {image.size for image in images}
    return Guards(GuardsConfig(), traits.exposure, traits.colour, traits.usual if len(sizes) == 1 else None)


def check_all(normal, others):
    """The frames of ``others`` that a guard finds, with what is learned from ``normal``."""
    guards = guards_of(tuple(normal))
    checked = [(path.name, guards.check(frame(read_image(path), at=at))) for at, path in enumerate(others)]
    assert checked
    return [(name, str(fault)) for name, fault in checked if fault is not None]


@pytest.mark.data
@pytest.mark.parametrize("name", ["bottle", "pill", "screw", "toothbrush"])
def test_no_guard_finds_anything_on_real_parts_good_or_defective(shared_data, name):
    data = shared_data / "mvtec_ad" / name
    tested = [path for kind in sorted((data / "test").iterdir()) for path in find_images(kind)]
    assert check_all(find_images(data / "train" / "good"), tested) == []


@pytest.mark.data
def test_no_guard_finds_anything_on_magnetic_tiles(shared_data):
    """Textures of different sizes, all grey; every second good one stands for the training."""
    tiles = shared_data / "magnetic_tiles"
    free = [path for path in find_images(tiles / "MT_Free" / "Imgs") if path.suffix == ".jpg"]
    defective = [
        path for kind in sorted(tiles.glob("MT_*")) for path in find_images(kind / "Imgs") if path.suffix == ".jpg"
    ]
    assert check_all(free[::2], [*free[1::2], *defective]) == []


@pytest.mark.data
@pytest.mark.parametrize("name", ["bottle", "pill", "screw", "toothbrush"])
def test_real_parts_in_the_dark_in_glare_torn_and_blurred_are_found(shared_data, name):
    data = shared_data / "mvtec_ad" / name
    guards = guards_of(tuple(find_images(data / "train" / "good")))
    random = np.random.default_rng(0)
    image = read_image(find_images(data / "test" / "good")[0])
    for shown, expected in (
        ((image * 0.01 + random.normal(1, 1, image.shape)).clip(0, 255), Reason.BLACK),
        ((image * 0.02 + random.normal(250, 1, image.shape)).clip(0, 255), Reason.WHITE),
        (np.concatenate((image[:160], np.full_like(image[160:], 128))), Reason.TORN),
        (np.concatenate((image[:160], image[160:161].repeat(len(image) - 160, axis=0))), Reason.TORN),
        (cv2.GaussianBlur(image, (0, 0), 3), Reason.BLURRED),
    ):
        fault = guards.check(frame(np.rint(shown).astype(np.uint8)))
        assert fault is not None
        assert fault.reason is expected
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])
    assert done
    assert guards.check(frame(cv2.imdecode(data, cv2.IMREAD_COLOR))) is None
