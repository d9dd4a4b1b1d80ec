"""A short soak: every fault once, so that the long one is known to work; limits are generous on a busy machine."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from soak import Options, soak
from soak_faults import FAULTS
from soak_measures import compare, floor_growth, slope

_TRANSIENT = 3
"""Threads or files that a short run may have more at its end: those of the last faults."""


def test_a_run_survives_every_fault_twice(tiny_bundle, tmp_path):
    options = Options(
        tiny_bundle, fault_seconds=0.6, calm_seconds=0.2, warm_up=10.0, hang_seconds=1.0,
        sample_period=0.2, picture_period=0.2, largest_gap=60.0, rounds=2,
    )  # fmt: skip
    result = soak(options, tmp_path)
    growth = {failure: re.fullmatch(r"(\d+) more (threads|open files)", failure) for failure in result.failures}
    failures = [failure for failure, grown in growth.items() if grown is None or int(grown[1]) > _TRANSIENT]
    assert failures == [], (tmp_path / "stderr.log").read_text()
    assert set(result.figures["faults injected"]) == {fault.__name__ for fault in FAULTS}
    assert result.figures["reloads"] >= 2
    assert result.figures["reloads refused"] >= 2
    assert result.figures["event messages in watch"]["made"] > 0


def test_events_are_compared_by_camera_id_phase_and_frame():
    made = [("left", "a", "start", "1"), ("left", "a", "end", "2"), ("right", "b", "start", "1")]
    arrived = [made[0], made[0], made[0], made[2], ("left", "c", "start", "9")]
    found = compare(made, arrived)
    assert (found.made, found.missing, found.unknown, found.repeated) == (3, 1, 1, 2)


def test_growth_is_robust_and_has_an_interval():
    seconds = range(0, 7200, 10)
    steady = slope(seconds, [100 + (50 if s % 1000 == 0 else (s // 10) % 3) for s in seconds])
    growing = slope(seconds, [100 + 3 * s / 3600 + (s // 10) % 3 for s in seconds])
    assert steady.low <= 0 <= steady.high
    assert abs(steady.value) < 0.5
    assert growing.value == pytest.approx(3, abs=0.3)
    assert growing.low <= growing.value <= growing.high
    assert slope(range(5), range(5)) is None


def test_a_leak_raises_the_lowest_value_and_what_comes_and_goes_does_not():
    assert floor_growth([5, 9, 5, 5, 8, 5, 7, 5, 6]) == 0
    assert floor_growth([5, 9, 5, 6, 8, 6, 7, 8, 7]) == 2
