"""The drift monitor: alarms on changed frames, none on unchanged ones, and figures that a naive version gives too."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt_helpers import inspection
from pydantic import ValidationError

from edge_occ.bundle.conformal import ConformalThreshold, calibrate
from edge_occ.inspection.drift import DriftConfig, DriftMonitor, DriftState

QUICK = DriftConfig(horizon=200, warm_up=50, window=50)


def monitor_of(held_out, rate=0.02, config=QUICK):
    """A monitor, what turns scores into verdicts, and the sentences."""
    calibration = calibrate(np.array(held_out), rate)
    threshold, said = ConformalThreshold(list(held_out), calibration.threshold), []
    return DriftMonitor(threshold, calibration, config, said.append), threshold, said


def take(monitor, threshold, scores):
    """The states after each score."""
    states = []
    for score in scores:
        monitor.take(threshold.verdict(float(score)))
        states.append(monitor.state)
    return states


def draw(seed, count, shift=0.0):
    return np.random.default_rng(seed).normal(size=count) + shift


@pytest.mark.parametrize(("held_out", "defects"), [(20, 0.0), (20, 0.04), (200, 0.04)])
def test_unchanged_frames_raise_no_more_false_alarms_than_stated(held_out, defects):
    """Twenty lines with a calibration each, three horizons long: at alpha = .05, three alarms are expected at most."""
    config = QUICK.model_copy(update={"alpha": 0.05})
    alarms = 0
    for seed in range(20):
        chance = np.random.default_rng(seed)
        monitor, threshold, _ = monitor_of(chance.normal(size=held_out), 0.1, config)
        scores = np.where(chance.random(600) < defects, 9.0, chance.normal(size=600))
        alarms += any(state.alarm for state in take(monitor, threshold, scores))
    assert alarms <= 3


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (0.9, "normal frames score higher than the held-out images of the bundle"),
        (9, "more than 8.3 % of the frames are anomalous"),
    ],
)
def test_higher_scores_are_found_from_the_first_frame_on(shift, words):
    monitor, threshold, said = monitor_of(draw(0, 400), config=QUICK.model_copy(update={"warm_up": 400}))
    states = take(monitor, threshold, draw(1, 200, shift))
    assert states[-1].alarm
    assert states[-1].log10 >= 3
    (sentence,) = said
    assert sentence.startswith(f"drift: {words} (evidence 10^3.")


@pytest.mark.parametrize("shift", [-1.5, 1.5])
def test_a_change_during_the_run_is_found_in_both_directions(shift):
    monitor, threshold, said = monitor_of(draw(0, 200))
    assert not take(monitor, threshold, draw(1, 100))[-1].alarm
    assert take(monitor, threshold, draw(2, 150, shift))[-1].alarm
    assert len(said) == 1


def test_a_few_defects_in_a_row_are_no_drift_and_many_are():
    monitor, threshold, _ = monitor_of(draw(0, 200))
    take(monitor, threshold, draw(1, 60))
    states = take(monitor, threshold, [9.0] * 30)
    assert 5 < [state.alarm for state in states].index(True) < 20


def test_scores_below_those_of_calibration_are_usual_from_the_first_frame_on():
    """The highest of several shots of a part is held out, so that single frames score lower."""
    monitor, threshold, said = monitor_of(draw(0, 200))
    assert not any(state.alarm for state in take(monitor, threshold, draw(1, 400, -1)))
    assert said == []


def test_an_alarm_ends_after_a_horizon_without_evidence_and_can_come_again():
    monitor, threshold, said = monitor_of(draw(0, 200))
    take(monitor, threshold, draw(4, 60))
    take(monitor, threshold, draw(1, 100, 2))
    states = take(monitor, threshold, draw(2, 500))
    ended = [state.alarm for state in states].index(False)
    assert 100 < ended <= 200
    assert said[1:] == ["drift: no evidence in 200 frames, the alarm ends"]
    assert states[-1].log10 < 1
    take(monitor, threshold, draw(3, 100, 2))
    assert len(said) == 3


def test_the_evidence_of_an_alarm_does_not_fall_while_it_lasts():
    monitor, threshold, _ = monitor_of(draw(0, 200))
    shown = [state.log10 for state in take(monitor, threshold, draw(1, 150, 2)) if state.alarm]
    assert shown == sorted(shown)
    assert shown[0] >= 3


def test_another_bundle_begins_anew():
    monitor, threshold, said = monitor_of(draw(0, 200))
    take(monitor, threshold, draw(1, 100, 2))
    calibration = calibrate(draw(4, 100, 2), 0.03)
    other = ConformalThreshold(draw(4, 100, 2).tolist(), calibration.threshold)
    monitor.reset(other, calibration)
    assert monitor.state == DriftState(declared_rate=3 / 101)
    assert not take(monitor, other, draw(5, 300, 2))[-1].alarm
    assert len(said) == 1


def test_one_frame_in_so_many_is_tested():
    every = QUICK.model_copy(update={"every": 3})
    monitor, threshold, _ = monitor_of(draw(0, 200), config=every)
    scores = draw(1, 300, 0.5)
    states = take(monitor, threshold, scores)
    single, threshold, _ = monitor_of(draw(0, 200))
    assert states[::3] == states[1::3] == states[2::3] == take(single, threshold, scores[::3])


def test_without_tests_the_figures_stay():
    monitor, threshold, said = monitor_of(draw(0, 200), config=DriftConfig(enabled=False))
    assert take(monitor, threshold, [9.0] * 40)[-1] == DriftState(declared_rate=4 / 201)
    assert said == []


@settings(max_examples=15)
@given(st.lists(st.integers(-3, 12).map(float), max_size=120), st.integers(1, 90))
def test_share_and_stability_index_follow_the_naive_ones(scores, held):
    held_out = [float(i % 10) for i in range(held)]
    monitor, threshold, _ = monitor_of(held_out, 0.1)
    for i, state in enumerate(take(monitor, threshold, scores), 1):
        latest = scores[max(i - 50, 0) : i]
        assert state.anomalous_share == pytest.approx(sum(s > threshold.threshold for s in latest) / len(latest))
        assert state.stability_index == pytest.approx(naive_stability(held_out, latest) if i >= 50 else 0)


def naive_stability(held_out, latest):
    bins = max(2, min(10, len(held_out) // 20))
    edges = np.quantile(held_out, np.arange(1, bins) / bins)
    total = 0.0
    for j in range(bins):
        low, high = [-np.inf, *edges][j], [*edges, np.inf][j]
        before, now = ((sum(low < s <= high for s in of) + 0.5) / (len(of) + 0.5 * bins) for of in (held_out, latest))
        total += (now - before) * np.log(now / before)
    return total


def test_memory_is_bounded():
    monitor, threshold, _ = monitor_of(draw(0, 100))
    scores = draw(1, 600)
    take(monitor, threshold, scores[:400])
    tracemalloc.start()
    for score in np.resize(scores, 2000):
        monitor.take(threshold.verdict(float(score)))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 60_000


def test_it_is_a_sink():
    monitor, _, said = monitor_of([0.25, 0.75, 1.0, 1.0], 0.4)
    for index in range(60):
        monitor.publish(inspection(index, 2.0))
    shares = monitor.state.anomalous_share
    monitor.fault(None)
    monitor.finish(inspection(61, 0.0))
    assert monitor.state.anomalous_share == shares == 1
    assert len(said) == 1


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"alpha": 1}, {"horizon": 1}, {"every": 0}, {"usual_defects": 0.5}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        DriftConfig.model_validate(wrong)
