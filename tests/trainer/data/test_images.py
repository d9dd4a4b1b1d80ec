"""Normal images: checked, hashed and read in batches."""

import os

import cv2
import numpy as np
import pytest
import torch
from discs import part
from parts import picture
from picture_files import add_exif

from edge_occ.bundle.downscale import downscale
from edge_occ.bundle.pose import Pose
from edge_occ.bundle.pre_stage import PreStage
from edge_occ.common.errors import InputError
from trainer.data.images import find_normal_images, read_frames
from trainer.graph.preprocess import Preprocess


def write(path, value, size=(70, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(path.suffix, np.full((*size, 3), value, np.uint8))[1]
    path.write_bytes(encoded.tobytes())


def test_the_fingerprint_is_of_pixels_and_order_not_of_names_and_formats(tmp_path):
    for i in range(8):
        write(tmp_path / "a" / f"{i}.png", i)
        write(tmp_path / "b" / f"x{i}.bmp", i)
        write(tmp_path / "c" / f"{i}.png", 7 - i)
    fingerprints = [find_normal_images(tmp_path / name).sha256 for name in "abc"]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert find_normal_images(tmp_path / "a").frame == (70, 80)


def test_frames_of_any_size_come_in_order(tmp_path):
    sizes = [(70, 80)] * 3 + [(90, 64)] * 2 + [(70, 80)]
    for i, size in enumerate(sizes):
        write(tmp_path / f"{i}.png", i, size)
    paths = tuple(sorted(tmp_path.iterdir()))
    batches = list(read_frames(paths, "reading", batch=4))
    assert [tuple(b.shape) for b in batches] == [(3, 70, 80, 3), (2, 90, 64, 3), (1, 70, 80, 3)]
    assert torch.cat([b[:, 0, 0, 0] for b in batches]).tolist() == list(range(6))


def test_large_images_come_one_at_a_time(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.png", i, (1500, 2000))
    batches = list(read_frames(tuple(sorted(tmp_path.iterdir())), "reading"))
    assert [tuple(b.shape) for b in batches] == [(1, 1500, 2000, 3)] * 3
    assert [int(b[0, 0, 0, 0]) for b in batches] == [0, 1, 2]


def test_frames_are_resized_alike_alone_and_in_a_batch():
    """So that it does not matter how many of them fit into memory."""
    frames = torch.randint(0, 256, (5, 70, 90, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    preprocess = Preprocess((32, 32))
    together = preprocess(frames)
    alone = torch.cat([preprocess(frame.unsqueeze(0)) for frame in frames])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("highest", "white"), [(900, 1023), (3500, 4095), (60_000, 65535)])
def test_the_scale_of_16_bit_images_is_that_of_the_set(tmp_path, highest, white):
    """Also where one of them is dark, and by itself would look like another scale."""
    for i in range(8):
        pixels = np.full((70, 80), highest // 10 if i == 3 else highest - i, np.uint16)
        assert cv2.imwrite(str(tmp_path / f"{i}.png"), pixels)
    found = find_normal_images(tmp_path)
    assert found.traits.white == white
    assert found.conversions == ("16-bit", "grey")
    frames = torch.cat(list(read_frames(found.paths, "reading", white=white)))
    assert frames[3].unique().tolist() == [round(highest // 10 * 255 / white)]
    assert frames[0].unique().tolist() == [round(highest * 255 / white)]


def test_common_traits_of_the_images_are_found(tmp_path):
    for i in range(8):
        write(tmp_path / f"{i}.jpg", 10 * i, (70 + i, 80))
    write(tmp_path / "turned.jpg", 200, (70, 80))
    (tmp_path / "turned.jpg").write_bytes(add_exif((tmp_path / "turned.jpg").read_bytes(), 6))
    found = find_normal_images(tmp_path)
    assert found.frame is None
    traits = found.traits
    assert (traits.largest, traits.turned, traits.colour, traits.white) == ((77, 80), 1, False, None)
    assert traits.exposure.mean == (0, 200)


def test_frames_are_changed_before_they_are_downscaled(tmp_path):
    for i in range(8):
        write(tmp_path / f"{i}.png", 10 * i, (64, 80))
    paths = find_normal_images(tmp_path).paths
    shapes = set()

    def change(image):
        shapes.add(image.shape)
        return image + np.uint8(1)

    frames = torch.cat(list(read_frames(paths, "reading", stage=PreStage((32, 32)), change=change)))
    assert shapes == {(64, 80, 3)}
    assert frames.shape == (8, 32, 40, 3)
    assert frames[:, 0, 0, 0].tolist() == [10 * i + 1 for i in range(8)]


def test_a_pattern_takes_what_it_matches(tmp_path):
    for i in range(8):
        write(tmp_path / f"day{i % 2}" / f"{i}.jfif.jpg", i)
    for path in list(tmp_path.rglob("*.jpg")):
        path.rename(path.with_suffix(""))
    assert len(find_normal_images(tmp_path / "**")) == 8


def test_large_frames_are_downscaled_as_they_are_read(tmp_path):
    pictures = [np.random.default_rng(i).integers(0, 256, (150, 250 + i, 3), dtype=np.uint8) for i in (0, 0, 8)]
    for i, image in enumerate(pictures):
        assert cv2.imwrite(str(tmp_path / f"{i}.png"), image)
    batches = list(read_frames(tuple(sorted(tmp_path.iterdir())), "reading", stage=PreStage((64, 64))))
    assert [tuple(batch.shape) for batch in batches] == [(2, 75, 125, 3), (1, 75, 64, 3)]
    for frame, image in zip((frame for batch in batches for frame in batch), pictures, strict=True):
        np.testing.assert_array_equal(frame, downscale(image, (64, 64)))


def test_an_image_that_vanishes_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"gone\.png"):
        list(read_frames((tmp_path / "gone.png",), "reading"))


def parts(folder, count):
    """Discs that differ as parts do: brightness and a stain of each one's own."""
    pictures = []
    for i in range(count):
        image = part(i)
        cv2.circle(image, (30 + 6 * i, 40 + 5 * i), 12, (90, 60, 30), -1)
        pictures.append(image)
        folder.mkdir(exist_ok=True)
        assert cv2.imwrite(str(folder / f"{i:03}.png"), image)
    return pictures


def test_equal_pictures_under_several_names_count_once(tmp_path):
    pictures = parts(tmp_path / "a", 9)
    alone = find_normal_images(tmp_path / "a")
    assert (alone.parts, alone.copies, alone.look_alike) == (tuple(range(9)), (), False)
    for i in (0, 4, 8):
        assert cv2.imwrite(str(tmp_path / "a" / f"{i:03}_again.bmp"), pictures[i])
    found = find_normal_images(tmp_path / "a")
    assert found.paths == alone.paths
    assert found.sha256 == alone.sha256
    assert found.copies == tuple(
        f"{tmp_path}/a/{i:03}_again.bmp: the pixels of {tmp_path}/a/{i:03}.png" for i in (0, 4, 8)
    )


def test_shots_of_one_part_are_kept_and_share_a_number(tmp_path):
    generator = np.random.default_rng(0)
    for i, image in enumerate(parts(tmp_path / "a", 9)):
        for shot in range(2):
            noisy = image * generator.normal(1, 0.01) + generator.normal(0, 2, image.shape)
            path = str(tmp_path / "a" / f"{i:03}_{shot}.png")
            assert cv2.imwrite(path, noisy.round().clip(0, 255).astype(np.uint8))
    found = find_normal_images(tmp_path / "a")
    assert len(found) == 27
    assert found.parts == tuple(np.repeat(range(9), 3))


def test_copies_do_not_make_seven_parts_eight(tmp_path):
    for i, image in enumerate(parts(tmp_path / "a", 7)):
        assert cv2.imwrite(str(tmp_path / "a" / f"{i:03}_again.png"), image)
    with pytest.raises(InputError, match="at least 8 different good parts") as error:
        find_normal_images(tmp_path / "a")
    assert error.value.found == f"7 and 7 more shots or copies of them in {tmp_path}/a"


def test_pictures_that_differ_by_noise_alone_are_reported_and_not_merged(tmp_path):
    generator = np.random.default_rng(0)
    for i in range(10):
        noisy = part(0) + generator.normal(0, 1, (112, 112, 3))
        assert cv2.imwrite(str(tmp_path / f"{i}.png"), noisy.round().clip(0, 255).astype(np.uint8))
    found = find_normal_images(tmp_path)
    assert found.look_alike
    assert found.parts == tuple(range(10))


def test_names_that_are_no_utf8_are_reported_as_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"Pr\xfcfteile")
    for i in range(100):
        write(folder / f"{i:03}.png", i)
    (folder / os.fsdecode(b"d\xe9faut.png")).write_bytes(b"no picture")
    found = find_normal_images(folder)
    assert len(found) == 100
    assert found.skipped[0].startswith(f"{tmp_path}/Pr\\xfcfteile/d\\xe9faut.png: ")


def test_a_changed_copy_that_has_lost_its_pose_is_left_unchanged(tmp_path):
    pose = Pose(height=64, width=144, side=256, contrast=0.5, area=500, elongation=0.4, skewness=0.07)
    cv2.imwrite(str(tmp_path / "part.png"), picture(degrees=30))
    stage = PreStage((64, 144), pose)
    expected = stage.prepared(picture(degrees=30))
    for change, changed in ((np.zeros_like, False), (lambda image: image[:, ::-1], True)):
        (frames,) = read_frames((tmp_path / "part.png",), "reading", stage=stage, change=change)
        assert np.array_equal(frames[0].numpy(), expected) is not changed
