"""Records of where a bundle comes from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.provenance import Exposure
from edge_occ.common.exposure import Light

LIGHTS = st.builds(
    lambda seed, side: Light.of(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)),
    st.integers(0, 1000),
    st.integers(9, 30),
)


@given(st.lists(LIGHTS, min_size=1, max_size=4), st.lists(LIGHTS, min_size=1, max_size=4))
def test_the_brightness_of_two_sets_is_that_of_all_their_images(first, second):
    assert Exposure.of(first).joined(Exposure.of(second)) == Exposure.of([*first, *second])


def test_what_one_set_lacks_is_not_measured():
    known = Exposure.of([Light.of(np.zeros((9, 9, 3), np.uint8))])
    older = Exposure(mean=(1, 2), deviation=(3, 4), repeated_rows=0.5)
    for joined in (known.joined(older), older.joined(known)):
        assert (joined.sharpness, joined.levels) == (None, None)
        assert (joined.mean, joined.repeated_rows) == ((0, 2), 1 - 1 / 9)
