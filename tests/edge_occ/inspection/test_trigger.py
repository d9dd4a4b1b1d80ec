from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_occ.inspection.roi import Roi
from edge_occ.inspection.trigger import CommandTrigger, EdgeTrigger, TriggerConfig
from edge_occ.sources.faults import Unscored

ROI = Roi(4, 2, 3, 3)


def frame(level: int, elsewhere: int = 128):
    image = np.full((8, 12, 3), elsewhere, np.uint8)
    image[2:5, 4:7] = level
    return image


def fired(trigger, levels):
    return [index for index, level in enumerate(levels) if trigger.fires(frame(level))]


def test_it_fires_once_for_each_part_that_enters():
    assert fired(EdgeTrigger(ROI, 60, 120), [0, 0, 200, 200, 200, 0, 0, 150, 0]) == [2, 7]


def test_noise_between_the_levels_and_slow_edges_fire_once():
    assert fired(EdgeTrigger(ROI, 60, 120), [10, 90, 119, 121, 100, 119, 125, 61, 130, 60, 119, 120]) == [3, 11]


def test_what_lies_there_at_the_start_is_not_a_part_that_enters():
    assert fired(EdgeTrigger(ROI, 60, 120), [200, 200, 10, 200]) == [3]


def test_dark_parts_on_a_bright_ground():
    assert fired(EdgeTrigger(ROI, 60, 120, falling=True), [200, 200, 20, 20, 200, 50]) == [2, 5]


def test_the_frame_after_the_delay_is_inspected():
    assert fired(EdgeTrigger(ROI, 60, 120, delay=2), [0, 200, 200, 0, 200, 200, 200]) == [3, 6]


@given(st.lists(st.sampled_from([0, 60, 61, 90, 119, 120, 255]), max_size=40), st.integers(0, 3), st.booleans())
def test_it_agrees_with_a_naive_model(levels, delay, falling):
    """An edge is a part before which, and after any earlier part, the ground was seen."""
    trigger = EdgeTrigger(ROI, 60, 120, delay, falling=falling)
    is_part = [(level <= 60) if falling else (level >= 120) for level in levels]
    is_ground = [(level >= 120) if falling else (level <= 60) for level in levels]
    edges, last = [], None
    for index in range(len(levels)):
        if is_part[index]:
            since = 0 if last is None else last + 1
            if any(is_ground[since:index]):
                edges.append(index)
            last = index
    expected = [edge + delay for edge in edges if edge + delay < len(levels)]
    assert fired(trigger, levels) == expected


def test_only_the_rectangle_counts():
    trigger = EdgeTrigger(ROI, 60, 120)
    assert not trigger.fires(frame(0, elsewhere=255))
    assert not trigger.fires(frame(0, elsewhere=0))
    assert trigger.fires(frame(255, elsewhere=0))


def test_a_frame_without_the_rectangle_cannot_be_looked_at():
    with pytest.raises(Unscored):
        EdgeTrigger(Roi(0, 0, 20, 20), 60, 120).fires(frame(0))


def test_a_command_has_the_next_frame_inspected():
    trigger = CommandTrigger()
    assert fired(trigger, [0, 0]) == []
    trigger.request()
    trigger.request()
    assert fired(trigger, [0, 0, 0]) == [0]


def test_the_settings_make_the_trigger():
    assert TriggerConfig().make() is None
    assert isinstance(TriggerConfig(mode="command").make(), CommandTrigger)
    edge = TriggerConfig(mode="edge", roi=(4, 2, 3, 3), low=60, high=120).make()
    assert fired(edge, [0, 200, 200]) == [1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "edge"}, "needs roi"),
        ({"mode": "edge", "roi": (0, 0, 0, 5)}, "at least 1"),
        ({"mode": "edge", "roi": (-1, 0, 5, 5)}, "at least 0"),
        ({"low": 120, "high": 120}, "low must be below high"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        TriggerConfig(**settings)
