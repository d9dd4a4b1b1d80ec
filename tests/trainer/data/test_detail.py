"""The smallest defect that is found reliably, in frame pixels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.manifest import Geometry
from trainer.data.detail import MIN_DEFECT, detail, shrinking, smallest_defect

SIZES = st.tuples(st.integers(64, 4096), st.integers(64, 4096))


def geometry(frame, grid=(17, 25)):
    return Geometry(size=(192, 256), window=64, stride=8, grid=grid, frame=frame)


@given(frame=SIZES, size=SIZES)
def test_a_defect_of_that_side_has_enough_resized_pixels_along_both_axes(frame, size):
    side = smallest_defect(frame, size)
    assert side >= 1
    shrunk = [after / before for before, after in zip(frame, size, strict=True)]
    assert (side + 0.5) * min(shrunk) >= MIN_DEFECT - 1e-9
    assert side == 1 or (side - 0.5) * min(shrunk) <= MIN_DEFECT + 1e-9


@pytest.mark.parametrize(("frame", "expected"), [((512, 512), False), ((256, 513), True), ((513, 256), True)])
def test_shrinking_is_reported_from_half_on(frame, expected):
    assert (shrinking(frame, (256, 256)) is not None) == expected


def test_shrinking_names_the_smallest_defect():
    words = shrinking((3000, 4000), (192, 256))
    assert words == (
        "pictures of 4000x3000 are shrunk 15.6 x 15.6 times to 256x192; "
        "what is smaller than about 62 pixels may not be seen"
    )


def test_detail_is_in_frame_pixels():
    assert detail(geometry((384, 768))) == (
        "about 12 frame pixels, which are 4 after resizing (by 3.0 x 2.0); "
        "a feature covers a window of 192 x 128 frame pixels, and there is one each 24 x 16"
    )
    assert detail(geometry((384, 768), (1, 1))).endswith("a feature covers the whole frame")
    assert detail(geometry(None)) == "about 4 pixels of the resized frame; the training images differ in size"
