"""Recognition of pictures that are shots of one part."""

import cv2
import numpy as np
import pytest
from discs import part
from hypothesis import given
from hypothesis import strategies as st
from some_cells import table_of_cells

from edge_occ.common.images import find_images, read_image
from trainer.data import copies
from trainer.data.copies import look_alike, parts_of, thumbnail


def stained(seed):
    """A disc with a stain of its own."""
    image = part(seed)
    x, y = (int(v) for v in np.random.default_rng(seed).integers(30, 80, 2))
    cv2.circle(image, (x, y), 14, (90, 60, 30), -1)
    return image


def shot(image, generator, noise=2.0, light=0.01):
    seen = image * generator.normal(1, light) + generator.normal(0, noise, image.shape)
    return seen.round().clip(0, 255).astype(np.uint8)


@given(st.lists(st.integers(0, 11), min_size=2, max_size=24), st.integers(0, 2**31))
def test_shots_share_the_number_of_their_part_and_numbers_follow_the_first_shots(shown, seed):
    generator = np.random.default_rng(seed)
    pictures = [thumbnail(shot(stained(i), generator)) for i in shown]
    numbers = {}
    expected = [numbers.setdefault(i, len(numbers)) for i in shown]
    if len(numbers) == 1:
        # There is nothing to compare the distances with.
        assert look_alike(pictures)
        assert parts_of(pictures) == tuple(range(len(shown)))
    else:
        assert not look_alike(pictures)
        assert parts_of(pictures) == tuple(expected)


def test_many_pictures_are_compared_in_pieces(monkeypatch):
    generator = np.random.default_rng(0)
    shown = generator.integers(0, 9, 40)
    pictures = [thumbnail(shot(stained(i), generator)) for i in shown]
    whole = parts_of(pictures)
    monkeypatch.setattr(copies, "_CHUNK", 7)
    monkeypatch.setattr(copies, "_SAMPLE", 20)
    assert parts_of(pictures) == whole
    assert len(set(whole)) == len(set(shown))


def test_parts_that_hardly_vary_are_different():
    """Every two are as far apart as any: noise that is in the part, not in the camera."""
    pictures = [thumbnail(np.repeat(np.repeat(part(i)[::8, ::8], 8, 0), 8, 1)) for i in range(30)]
    assert parts_of(pictures) == tuple(range(30))


def test_two_kinds_of_parts_are_not_two_parts():
    """The distance between kinds of parts must not make the parts of one kind count as one."""
    kinds = [part(i) for i in range(8)] + [255 - part(i) for i in range(8, 16)]
    stains = np.random.default_rng(1).normal(0, 12, (16, 14, 14, 3))
    pictures = [
        thumbnail((image + np.repeat(np.repeat(stain, 8, 0), 8, 1)).clip(0, 255).astype(np.uint8))
        for image, stain in zip(kinds, stains, strict=True)
    ]
    assert parts_of(pictures) == tuple(range(16))


def test_other_light_is_no_other_part():
    pictures = [stained(i) for i in range(8)]
    brighter = [(image * 0.7 + 40).round().astype(np.uint8) for image in pictures]
    found = parts_of([thumbnail(image) for image in pictures + brighter])
    assert found == tuple(range(8)) * 2


@pytest.mark.data
@pytest.mark.parametrize(
    ("category", "same"),
    [("bottle", []), ("pill", []), ("toothbrush", []), ("screw", [(53, 173)])],
)
def test_real_parts_are_different_but_for_those_photographed_twice(shared_data, category, same):
    """Screws 53 and 173 are one screw in one place, under other light."""
    paths = find_images(shared_data / "mvtec_ad" / category / "train" / "good")
    images = [read_image(path) for path in paths]
    found = parts_of([thumbnail(image) for image in images])
    assert len(set(found)) == len(images) - len(same)
    assert all(found[first] == found[second] for first, second in same)
    generator = np.random.default_rng(0)
    some = [image for i, image in enumerate(images[:24]) for _ in range(3)]
    shots = [thumbnail(shot(image, generator)) for image in some]
    assert parts_of(shots) == tuple(np.repeat(range(24), 3))


@pytest.mark.data
def test_solar_cells_are_different(tmp_path):
    elpv = pytest.importorskip("elpv_dataset.utils", reason="needs the extra [demo]")
    good = table_of_cells(tmp_path, lambda _, line: line[2] == "mono" and float(line[1]) == 0)
    cells, _, _ = elpv.load_dataset(good)
    assert len(cells) == 588
    found = parts_of([thumbnail(cv2.cvtColor(cell, cv2.COLOR_GRAY2BGR)) for cell in cells])
    assert len(set(found)) == len(cells)
