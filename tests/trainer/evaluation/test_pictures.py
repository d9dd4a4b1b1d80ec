"""Pictures of regions."""

import numpy as np
import pytest

from trainer.evaluation.pictures import region_pair


@pytest.mark.parametrize("level", [0, 255])
def test_pixels_outside_the_region_are_drawn_faded(level):
    """On a black ground and on a white one."""
    frame = np.full((160, 240, 3), level, np.uint8)
    region = np.zeros((80, 120), bool)
    region[20:60, 30:90] = True
    plain, veiled = region_pair(frame, region)
    assert plain.shape == veiled.shape == (320, 480, 3)
    assert (plain == level).all()
    assert (veiled[90:230, 130:350] == level).all()
    outside = np.concatenate((veiled[:70].reshape(-1), veiled[:, :110].reshape(-1)))
    assert len(np.unique(outside)) == 1
    assert abs(int(outside[0]) - level) > 40
    # The outline is where the region ends.
    assert veiled[160, 116:124].max() == 255
    assert veiled[160, 116:124].min() == 0
