"""Warnings about frames that are unlike the training images."""

import numpy as np
import pytest

from edge_occ.bundle.bundle import read_bundle
from edge_occ.inspection.likeness import Likeness

SIZE = (112, 112)


def grey(value=None, size=SIZE):
    frame = np.full((*size, 3), value or 0, np.uint8)
    if value is None:
        frame[:9] = 200
    return frame


def coloured(size=SIZE):
    frame = grey(size=size)
    frame[-1, -1, 0] += 1  # one pixel is enough: a camera without colours gives none anywhere
    return frame


@pytest.fixture
def watching(tiny_bundle):
    """From the size and the colour of the training images to a likeness and what it tells."""
    manifest = read_bundle(tiny_bundle).manifest

    def watch(frame, colour):
        geometry = manifest.geometry.model_copy(update={"frame": frame})
        training = manifest.training.model_copy(update={"colour": colour})
        told = []
        return Likeness(manifest.model_copy(update={"geometry": geometry, "training": training}), told.append), told

    return watch


@pytest.mark.parametrize(("colour", "frame"), [(True, coloured()), (False, grey()), (None, grey()), (None, coloured())])
def test_nothing_is_reported_of_frames_like_those_of_training(watching, colour, frame):
    likeness, told = watching(SIZE, colour)
    for _ in range(3):
        likeness.look(frame)
    assert told == []


def test_another_size_is_reported_once_with_both_sizes_width_first(watching):
    likeness, told = watching((112, 200), True)
    for height in (64, 65, 64):
        likeness.look(coloured((height, 96)))
    assert len(told) == 1
    assert told[0].startswith("frames of 96x64 pixels, but the training images had 200x112")


def test_a_size_that_changes_later_is_reported(watching):
    likeness, told = watching(SIZE, True)
    likeness.look(coloured())
    assert told == []
    likeness.look(coloured((96, 96)))
    assert len(told) == 1


def test_where_training_sizes_differed_or_colours_were_mixed_nothing_is_reported(watching):
    likeness, told = watching(None, None)
    likeness.look(grey(size=(20, 20)))
    assert told == []


@pytest.mark.parametrize(
    ("colour", "frame", "words"),
    [
        (True, grey(), "the training images had colours, these frames have none"),
        (False, coloured(), "the training images had no colours, these frames have some"),
    ],
)
def test_other_colours_are_reported_once(watching, colour, frame, words):
    likeness, told = watching(SIZE, colour)
    for _ in range(3):
        likeness.look(frame)
    assert len(told) == 1
    assert words in told[0]


def test_a_black_frame_says_nothing_of_colours_but_the_next_one_does(watching):
    likeness, told = watching(SIZE, True)
    likeness.look(grey(0))
    assert told == []
    likeness.look(grey())
    assert len(told) == 1
