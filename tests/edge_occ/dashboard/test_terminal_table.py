"""The tables of a terminal, as text."""

from itertools import pairwise

import pytest
from dashboard_helpers import at, event, received, score, stats, status
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edge_occ.dashboard.state import LineState
from edge_occ.dashboard.terminal_table import BAR, line_tables, score_bar


def shown(state, rows=24, width=110, **options):
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(line_tables(state.changes(), state.events(), rows, **options))
    return [line.rstrip() for line in capture.get().splitlines()]


def line_of(*messages):
    state = LineState()
    for message, device in messages:
        state.apply(received(message, device=device))
    return state


def test_each_camera_has_its_state_its_score_against_the_threshold_and_its_rates():
    state = line_of(
        *((score(0.5), "press-1"), (stats(), "press-1")),
        *((score(1.5, "anomalous"), "press-2"), (event("abcdefghij", peak=1.5), "press-2")),
        *((status("offline", "connection lost"), "press-3"),),
    )
    lines = shown(state)
    assert " ".join(lines[0].split()) == "camera state score : threshold score frames/s p95 ms dropped"
    assert lines[1].split() == ["press-1", "normal", "█████░░░░░│░░░░░░░░░░", "0.5", "3.5", "2"]
    assert lines[2].split() == ["press-2", "anomalous", "██████████│█████░░░░░", "1.5"]
    assert lines[3].split() == ["press-3", "offline:", "connection", "lost"]
    assert lines[5].split()[0] == "event"
    assert lines[6].split() == ["abcdefgh", "press-2", "01-01", "08:00:00", "1.5", "1", "under", "way"]


def test_the_place_of_a_device_comes_before_its_name():
    state = LineState()
    for place in ("hamburg/line1", ""):
        state.apply(received(event(place or "e"), place=place, camera="left"))
    words = [line.split() for line in shown(state)]
    assert [of[0] for of in words[1:3]] == ["hamburg/line1/press-1/left", "press-1/left"]
    assert {of[1] for of in words[5:]} == {"hamburg/line1/press-1/left", "press-1/left"}


def test_a_silent_camera_and_an_ended_event_are_shown():
    state = line_of((score(2.0, "anomalous"), "a"), (event("e"), "a"), (event("e", "end"), "a"))
    assert "under way" not in shown(state)[-1]
    state.tick(at(60))
    assert shown(state)[1].split()[:2] == ["a", "silent"]


def test_names_and_words_from_the_network_cannot_move_the_cursor():
    state = line_of((score(), "\x1b[2Jpress\u202e"), (status("fault", "line\nbreak\x07"), "b"))
    text = "\n".join(shown(state))
    assert not any(character in text for character in "\x1b\x07\u202e")
    assert r"\x1b[2Jpress\u202e" in text
    assert r"line\nbreak\x07" in text


def test_markup_in_a_name_is_text():
    assert shown(line_of((score(), "[red]press[/red]")))[1].startswith("[red]press[/red]")


@pytest.mark.parametrize("rows", [1, 4, 6, 10, 24])
def test_what_is_shown_fits_the_terminal(rows):
    state = line_of(
        *((score(), f"camera-{i}") for i in range(6)), *((event(f"e{i}", "end"), "camera-1") for i in range(9))
    )
    lines = shown(state, rows)
    assert len(lines) <= max(rows, 3)
    cameras = sum(line.startswith("camera-") for line in lines)
    assert cameras == 6 or f"and {6 - cameras} more" in lines


@given(st.floats(0, 5), st.floats(0.01, 2))
def test_the_bar_passes_its_mark_only_above_the_threshold(value, threshold):
    bar = score_bar(value, threshold, ascii_only=True)
    assert len(bar) == BAR + 1
    assert bar[BAR // 2] == "|"
    filled = bar.replace("|", "")
    assert filled == "#" * filled.count("#") + "-" * filled.count("-")
    assert abs(filled.count("#") - min(value / threshold, 2) * BAR / 2) <= 0.5 + 1e-9


def test_a_bar_grows_with_its_score():
    bars = [score_bar(value / 10, 1.0) for value in range(25)]
    assert all(a.count("█") <= b.count("█") for a, b in pairwise(bars))
    assert score_bar(1.0, 0.0).count("█") == BAR
