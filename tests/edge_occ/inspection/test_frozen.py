"""The guard of cameras that give the same frame again and again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.inspection.frozen import FrozenGuard
from edge_occ.sources.faults import Reason


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0.01, 2)), min_size=1, max_size=40),
    st.integers(1, 5),
    st.floats(0, 4),
)
def test_frozen_are_frames_of_a_run_that_is_long_in_frames_and_in_seconds(steps, frames, seconds):
    """Against the whole history, looked at anew for every frame."""
    guard = FrozenGuard(frames, seconds)
    images = [np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8) for seed in range(3)]
    shown, times = [], []
    for which, pause in steps:
        shown.append(which)
        times.append((times[-1] if times else 0.0) + pause)
        fault = guard.check(images[which].copy(), times[-1])
        begin = len(shown) - 1
        while begin > 0 and shown[begin - 1] == which:
            begin -= 1
        run, lasted = len(shown) - begin, times[-1] - times[begin]
        frozen = run > frames and lasted > seconds
        expected = None if run == 1 else Reason.FROZEN if frozen else Reason.REPEATED
        assert (fault and fault.reason) is expected


def test_a_guard_that_replaces_another_goes_on_from_its_last_frame():
    image = np.zeros((4, 4, 3), np.uint8)
    earlier, later = FrozenGuard(2, 0.5), FrozenGuard(2, 0.5)
    assert earlier.check(image, 0.0) is None
    later.go_on_from(earlier)
    assert [later.check(image, at).reason for at in (1.0, 2.0)] == [Reason.REPEATED, Reason.FROZEN]
