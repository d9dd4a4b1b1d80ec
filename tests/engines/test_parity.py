"""The parity gate, with an engine that is wrong on purpose."""

import numpy as np
import pytest
from fakes.engine import PartialEngine

from engines.base import Scores
from engines.errors import ParityFailure
from engines.parity import Golden, measure_parity, relative_error, require_parity

MAPS = np.array([[[1, 2], [3, 10]], [[5, 5], [5, 20]]], np.float32)
GOLDEN = Golden([np.zeros((1, 1, 3), np.uint8), np.ones((1, 1, 3), np.uint8)], MAPS.max((1, 2)), MAPS, 15.0)


class Wrong(PartialEngine):
    name = "wrong"

    def __init__(self, score_factor=1.0, map_offset=0.0):
        self.score_factor, self.map_offset = score_factor, map_offset

    def infer(self, frame):
        reference = MAPS[int(frame[0, 0, 0])]
        return Scores(float(reference.max()) * self.score_factor, reference + np.float32(self.map_offset))


def test_an_exact_engine_passes_with_zero_error():
    parity = require_parity(Wrong(), GOLDEN, 1e-6)
    assert (parity.score_error, parity.map_error, parity.flipped, parity.frames) == (0, 0, 0, 2)


def test_errors_are_relative_to_the_reference():
    parity = measure_parity(Wrong(1.01, 0.1), GOLDEN, 1e-3)
    assert parity.score_error == pytest.approx(0.01)
    assert parity.map_error == pytest.approx(0.1 / 15, rel=1e-4)  # the first map's peak is below the threshold


def test_a_score_far_below_the_threshold_is_measured_by_it():
    """A head that keeps features gives their own frame from 0; of the rest of rounding nothing follows."""
    assert relative_error(3e-7, 0.0, 0.02) == pytest.approx(1.5e-5)
    assert relative_error(0.01, 0.02, 0.02) == pytest.approx(0.5)
    assert relative_error(30.0, 20.0, 15.0) == pytest.approx(0.5)
    own_frame = Golden(GOLDEN.frames[:1], np.array([0], np.float32), 0 * MAPS[:1], 15.0)

    class Rounding(Wrong):
        def infer(self, frame):
            return Scores(1e-5, np.full((2, 2), 1e-5, np.float32))

    assert require_parity(Rounding(), own_frame, 1e-6).score_error == pytest.approx(1e-5 / 15)


@pytest.mark.parametrize(
    "engine", [Wrong(1.002), Wrong(0.998), Wrong(map_offset=0.05), Wrong(float("nan")), Wrong(map_offset=float("nan"))]
)
def test_an_engine_out_of_tolerance_is_refused_with_the_numbers(engine):
    with pytest.raises(ParityFailure, match=r"score error .* with engine wrong fp32") as caught:
        require_parity(engine, GOLDEN, 1e-3)
    assert caught.value.exit_code == 3


def test_a_flipped_verdict_is_refused_although_scores_are_within_tolerance():
    """10 becomes 18, across the threshold of 15; 20 stays above it."""
    assert measure_parity(Wrong(1.8), GOLDEN, 0.1).flipped == 1
    with pytest.raises(ParityFailure):
        require_parity(Wrong(1.8), GOLDEN, 0.45)


def test_a_map_of_another_size_is_refused():
    class Small(Wrong):
        def infer(self, frame):
            return Scores(10.0, np.ones((1, 1), np.float32))

    with pytest.raises(ParityFailure):
        require_parity(Small(), GOLDEN, 1e-3)


def test_a_close_call_may_fall_either_way():
    close = Golden(GOLDEN.frames[:1], np.array([14.999], np.float32), MAPS[:1] * np.float32(1.4999), 15.0)

    class Barely(Wrong):
        def infer(self, frame):
            return Scores(15.001, close.maps[0])

    assert require_parity(Barely(), close, 1e-3).flipped == 0
