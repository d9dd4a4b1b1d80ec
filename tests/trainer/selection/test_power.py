"""Power against counts by hand."""

import math

import numpy as np
import pytest

from trainer.selection.power import found, indistinguishable, mean_over_kinds, share_of_rates


def test_a_defect_is_found_above_the_threshold_of_the_normal_parts():
    normal = np.arange(99.0)
    # 100 * (1 - rate) normal parts lie at or below the threshold.
    np.testing.assert_array_equal(found(normal, np.array([97, 98, 98.5]), 0.01), [False, False, True])
    np.testing.assert_array_equal(found(normal, np.array([97, 97.5]), 0.02), [False, True])
    shares = share_of_rates(normal, np.array([0, 90, 95, 97.5, 99.0]), 0.01)
    np.testing.assert_allclose(shares, [0, 1 / 4, 2 / 4, 3 / 4, 1])


def test_rates_of_a_half_and_above_are_left_out():
    normal = np.arange(9.0)
    # Of 0.1, 0.2, 0.5 and 1 the first two are rates: thresholds 8 and 7.
    np.testing.assert_allclose(share_of_rates(normal, np.array([7.5, 8.5]), 0.1), [0.5, 1])


def test_every_kind_counts_the_same():
    assert mean_over_kinds(np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1])) == 0.5


def test_a_candidate_within_a_standard_error_is_as_good():
    kind = np.repeat([0, 1], 50)
    best = np.ones(100)
    other = best.copy()
    other[0] = 0  # the standard error of one miss in fifty, over two kinds
    error = math.sqrt(0.02 * 0.98 / 50) / 2
    assert mean_over_kinds(best - other, kind) == pytest.approx(0.01)
    assert error < 0.01
    assert indistinguishable(best, other, kind) is False
    other[:], best[:] = 0, 0
    best[0], other[1] = 1, 1
    assert indistinguishable(best, other, kind)
    assert indistinguishable(best, best, kind)
