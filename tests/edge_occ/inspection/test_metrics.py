"""Histograms of latencies, against numpy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.inspection.metrics import BOUNDS_MS, RELATIVE_ERROR, Histogram, Laps, Latencies, Stage

WITHIN = st.floats(BOUNDS_MS[0], BOUNDS_MS[-1])


def inverted_cdf(values, q):
    """The smallest value with at least a share ``q`` at or below it; numpy has it since 1.22 alone."""
    ordered = np.sort(values)
    return ordered[max(math.ceil(round(q * len(ordered), 9)) - 1, 0)]


def filled(values) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(st.lists(WITHIN, min_size=1, max_size=300), st.sampled_from([0.01, 0.25, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_that_of_numpy_within_the_stated_error(values, q):
    found = filled(values).read().quantile(q)
    assert found is not None
    exact = inverted_cdf(values, q)
    assert abs(found - exact) <= RELATIVE_ERROR * exact * (1 + 1e-9)


def test_the_stated_error_is_that_of_the_documentation():
    assert 0.019 < RELATIVE_ERROR < 0.02
    assert (BOUNDS_MS[0], BOUNDS_MS[-1]) == (0.01, pytest.approx(83886.08))
    assert list(BOUNDS_MS) == sorted(set(BOUNDS_MS))


@pytest.mark.parametrize("shape", [0.3, 1.0, 2.0])
def test_a_long_tail_has_the_quantiles_of_numpy(shape):
    values = np.random.default_rng(7).lognormal(3, shape, 5000)
    read = filled(values).read()
    for q in (0.5, 0.95, 0.99):
        assert read.quantile(q) == pytest.approx(inverted_cdf(values, q), rel=RELATIVE_ERROR)
    assert read.sum_ms == pytest.approx(values.sum())


def test_without_values_there_is_no_quantile():
    assert Histogram().read().quantile(0.5) is None


@pytest.mark.parametrize("value", [-1.0, 0.0, 1e-9, math.nan])
def test_a_value_below_the_bounds_counts_as_the_first(value):
    read = filled([value]).read()
    assert read.quantile(0.5) == BOUNDS_MS[0]
    assert 0 <= read.sum_ms <= 1e-9


@pytest.mark.parametrize("value", [BOUNDS_MS[-1] * 1.01, 1e12, math.inf])
def test_a_value_above_the_bounds_counts_as_the_last(value):
    assert filled([value]).read().quantile(0.5) == BOUNDS_MS[-1]


def test_quantiles_forget_what_came_long_before():
    histogram = filled([1000.0] * 20_000 + [1.0] * 4999)
    assert histogram.read().quantile(0.95) == pytest.approx(1000, rel=RELATIVE_ERROR)
    histogram.record(1.0)
    read = histogram.read()
    assert read.quantile(1.0) == pytest.approx(1, rel=RELATIVE_ERROR)
    assert (sum(read.counts), sum(read.recent)) == (25_000, 5000)


@given(st.lists(st.floats(0, 1e6), max_size=100))
def test_doublings_count_every_value_up_to_each_bound(values):
    doublings = filled(values).read().doublings()
    assert [bound for bound, _ in doublings[:-1]] == pytest.approx([0.01 * 2**k for k in range(24)])
    assert doublings[-1] == (math.inf, len(values))
    for bound, count in doublings[:-1]:
        assert count == sum(value <= bound for value in values)


def test_its_memory_does_not_grow():
    histogram = filled([5.0])
    small = histogram.read()
    for _ in range(12_000):
        histogram.record(7.0)
    assert len(histogram.read().counts) == len(small.counts) == len(BOUNDS_MS) + 1


def test_laps_follow_each_other_and_stages_without_one_stay_empty():
    latencies = Latencies()
    laps = Laps(10.0)
    laps.end(Stage.WAIT, 10.5)
    laps.end(Stage.ENGINE, 10.75)
    laps.record(latencies)
    read = latencies.read()
    assert read[Stage.WAIT].sum_ms == pytest.approx(500)
    assert read[Stage.ENGINE].sum_ms == pytest.approx(250)
    assert [stage for stage, of in read.items() if any(of.counts)] == [Stage.WAIT, Stage.ENGINE]


def test_time_between_two_stages_is_in_neither():
    latencies = Latencies()
    laps = Laps(1.0)
    laps.end(Stage.ENGINE, 2.0)
    laps.resume(5.0)
    laps.end(Stage.DECIDE, 5.5)
    laps.record(latencies)
    read = latencies.read()
    assert [read[stage].sum_ms for stage in (Stage.ENGINE, Stage.DECIDE)] == [1000, 500]
