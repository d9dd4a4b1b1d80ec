from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.inspection.result import Box
from edge_occ.inspection.roi import Roi
from edge_occ.sources.faults import Reason, Unscored


@given(st.data())
def test_the_rectangle_is_cut_out_of_the_frame_and_boxes_go_back_into_it(data):
    rows, columns = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    y, x = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    height, width = data.draw(st.integers(1, rows - y)), data.draw(st.integers(1, columns - x))
    image = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    roi = Roi(x, y, width, height)
    np.testing.assert_array_equal(roi.crop(image), image[y : y + height, x : x + width])
    box = roi.in_frame(Box(0, 0, width, height, 2.0))
    assert (box.x, box.y, box.width, box.height, box.peak) == (x, y, width, height, 2.0)


@pytest.mark.parametrize("roi", [Roi(0, 0, 31, 10), Roi(0, 0, 10, 21), Roi(30, 0, 1, 1), Roi(0, 20, 1, 1)])
def test_a_frame_without_the_rectangle_is_a_fault(roi):
    with pytest.raises(Unscored) as caught:
        roi.crop(np.zeros((20, 30, 3), np.uint8))
    assert caught.value.reason is Reason.FRAME
    assert "30x20" in caught.value.detail
