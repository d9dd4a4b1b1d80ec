"""The state of a line against a naive one that keeps every message, and a reader of changes against the whole."""

import random as random_module

import pytest
from dashboard_helpers import at, event, heatmap, milliseconds, received, score, stats, status
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.dashboard.limits import Limits
from edge_occ.dashboard.state import LineState

LIMITS = Limits(tiles=3, events=3, points=4, point_ms=1000, silent_seconds=5, listed_events=5)
LEVELS = {"normal": 0, "review": 1, "anomalous": 2}

DEVICES = st.sampled_from(["a", "b", "c", "d"])
STEP = st.sampled_from([0, 0.3, 1, 2, 7])
MESSAGES = st.one_of(
    st.builds(score, st.floats(0, 3), st.sampled_from(list(LEVELS))),
    st.builds(event, st.sampled_from("uvwxyz"), st.sampled_from(["start", "update", "end"]), st.integers(1, 9)),
    st.builds(lambda id_: event(id_, muted=True), st.sampled_from("uvwxyz")),
    st.builds(status, st.sampled_from(["online", "offline", "building", "fault"]), st.sampled_from([None, "why"])),
    st.builds(heatmap, st.floats(0, 3)),
    st.builds(stats),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("message"), STEP, DEVICES, MESSAGES),
        st.tuples(st.just("tick"), STEP),
        st.tuples(st.just("miss"), STEP),
    ),
    max_size=40,
)


def play(steps, state, after=lambda: None):
    """Apply the steps; returns them with their times."""
    now, log = 0.0, []
    for step in steps:
        now += step[1]
        if step[0] == "message":
            jpeg = b"\xff\xd8" if step[3].schema_.startswith("edge-occ/heatmap") else None
            state.apply(received(step[3], now, step[2], jpeg=jpeg))
        elif step[0] == "tick":
            state.tick(at(now))
        else:
            state.miss()
        log.append((now, *step))
        after()
    return log


def of_kind(messages, kind):
    return [message for message in messages if message[1].schema_ == f"edge-occ/{kind}/1"]


def naive(log):
    """The right tiles, each from all that happened."""
    names = list(dict.fromkeys(entry[3] for entry in log if entry[1] == "message"))[: LIMITS.tiles]
    return {name: naive_tile(name, log) for name in names}


def naive_tile(name, log):
    messages = [
        (index, entry[4], entry[0]) for index, entry in enumerate(log) if entry[1] == "message" and entry[3] == name
    ]
    tile = {}
    scores = of_kind(messages, "score")
    if scores:
        tile["verdict"] = scores[-1][1].verdict.value
        buckets = {}
        for _, message, now in scores:
            buckets.setdefault(milliseconds(now) // 1000 * 1000, []).append(message)
        tile["points"] = [
            [bucket, max(m.score for m in inside), max(LEVELS[m.verdict.value] for m in inside)]
            for bucket, inside in list(buckets.items())[-LIMITS.points :]
        ]
    entries = []
    for index, message, _ in of_kind(messages, "event"):
        known = [entry for entry in entries if entry[0] == message.id]
        if known:
            known[0][1].append((index, message))
        else:
            entries = [*entries, (message.id, [(index, message)])][-LIMITS.events :]
    misses = [index for index, entry in enumerate(log) if entry[1] == "miss"]
    ended = [any(m.phase.value == "end" for _, m in of) for _, of in entries]
    is_open = bool(entries) and not ended[-1] and not any(miss > entries[-1][1][-1][0] for miss in misses)
    tile["events"] = [(id_, max(m.peak for _, m in of)) for id_, of in reversed(entries)]
    tile["open"] = is_open
    ticks = [entry[0] for index, entry in enumerate(log) if entry[1] == "tick" and index > messages[-1][0]]
    states = of_kind(messages, "status")
    state = states[-1][1].state.value if states else ""
    silent = bool(ticks) and ticks[-1] - messages[-1][2] > LIMITS.silent_seconds
    if state in ("offline", "building"):
        tile["condition"] = state
    elif silent:
        tile["condition"] = "silent"
    elif state == "fault":
        tile["condition"] = "fault"
    else:
        muted = is_open and any(message.muted for _, message in entries[-1][1])
        tile["condition"] = ("muted" if muted else "anomalous") if is_open else tile.get("verdict", "waiting")
    return tile


def summary(tile):
    found = {"condition": tile["condition"]["name"]}
    if "score" in tile:
        found |= {"verdict": tile["score"]["verdict"], "points": tile["points"]}
    events = tile.get("events", [])
    found["events"] = [(event["id"], event["peak"]) for event in events]
    found["open"] = bool(events) and bool(events[0]["open"])
    assert not any(event["open"] for event in events[1:])
    return found


@given(STEPS)
def test_the_state_is_what_a_naive_one_makes_of_all_messages(steps):
    state = LineState(LIMITS)
    log = play(steps, state)
    assert {tile["device"]: summary(tile) for tile in state.changes()} == naive(log)
    known = [entry[3] for entry in log if entry[1] == "message"]
    assert state.messages == len(known)
    assert state.left_out == sum(name not in list(dict.fromkeys(known))[: LIMITS.tiles] for name in known)
    listed = state.events()
    assert len(listed) <= LIMITS.listed_events
    for shown in listed:
        assert shown["id"] in "uvwxyz"


class Reader:
    """Keeps what changes say, as the page does."""

    def __init__(self):
        self.since, self.tiles = 0, {}

    def read(self, state):
        changes, self.since = state.changes(self.since), state.revision
        for change in changes:
            tile = self.tiles.setdefault(change["id"], {})
            points = {point[0]: point for point in tile.get("points", []) + change.get("points", [])}
            tile.update(change)
            if points:
                tile["points"] = [points[key] for key in sorted(points)][-LIMITS.points :]


@given(STEPS, st.integers(0, 2**32))
def test_a_reader_of_changes_has_the_whole_whenever_it_reads(steps, seed):
    random = random_module.Random(seed)
    state, slow, quick = LineState(LIMITS), Reader(), Reader()

    def after():
        quick.read(state)
        if random.random() < 0.2:
            slow.read(state)
        assert state.changes(state.revision) == []
        assert state.events(state.revision) == []

    play(steps, state, after)
    slow.read(state)
    whole = {tile["id"]: tile for tile in state.changes()}
    assert quick.tiles == whole
    assert slow.tiles == whole


def only(state):
    (tile,) = state.changes()
    return tile


def test_a_device_whose_messages_stop_is_silent_until_the_next_one():
    state = LineState(LIMITS)
    state.apply(received(status("online"), 0))
    state.apply(received(score(), 3))
    state.tick(at(8))
    assert only(state)["condition"] == {"name": "normal", "detail": "", "seen": milliseconds(3)}
    state.tick(at(8.1))
    assert only(state)["condition"] == {"name": "silent", "detail": "", "seen": milliseconds(3)}
    before = state.revision
    state.tick(at(9))
    assert state.revision == before, "nothing changed"
    state.apply(received(score(), 10))
    assert only(state)["condition"]["name"] == "normal"


def test_retained_messages_are_no_sign_of_life_and_have_their_own_time():
    state = LineState(LIMITS)
    state.apply(received(status("online"), 100, retained=True))
    state.apply(received(stats(40), 100, retained=True))
    state.apply(received(heatmap(seconds=30), 101, jpeg=b"x", retained=True))
    state.tick(at(106))
    assert only(state)["condition"] == {"name": "silent", "detail": "", "seen": milliseconds(40)}


def test_a_device_whose_clock_is_ahead_was_not_heard_in_the_future():
    state = LineState(LIMITS)
    state.apply(received(stats(5000), 100, retained=True))
    state.tick(at(106))
    assert only(state)["condition"]["seen"] == milliseconds(100)


def test_a_device_that_builds_an_engine_says_nothing_for_minutes():
    state = LineState(LIMITS)
    state.apply(received(status("building", "fp16"), 0))
    state.tick(at(600))
    assert only(state)["condition"]["name"] == "building"
    state.apply(received(status("offline"), 601))
    assert only(state)["condition"]["name"] == "offline"


def test_further_devices_and_names_beyond_the_bounds_are_counted():
    state = LineState(LIMITS)
    for name in ["a", "b", "x" * 600, "c", "d", "e", "d"]:
        state.apply(received(score(), 0, name))
    assert [tile["device"] for tile in state.changes()] == ["a", "b", "c"]
    assert (state.devices, state.messages, state.left_out) == (3, 7, 4)
    state.apply(received(event("x" * 300), 0, "a"))
    assert state.events() == []


def test_heatmaps_are_bounded_one_by_one_and_in_all():
    state = LineState(Limits(heatmap_bytes=10, heatmaps_bytes=20))
    for name, size in [("a", 10), ("b", 9), ("a", 8), ("c", 11), ("d", 5)]:
        state.apply(received(heatmap(), 0, name, jpeg=b"x" * size))
    assert state.heatmap("b") is None, "the oldest went"
    assert [len(state.heatmap(name).jpeg) for name in ("a", "d")] == [8, 5]
    assert state.heatmap("c") is None
    assert state.heatmap("nobody") is None
    assert state.left_out == 1


def test_cameras_of_a_device_are_tiles_of_their_own():
    state = LineState(LIMITS)
    for camera in ("left", "right", None):
        state.apply(received(heatmap(), 0, camera=camera, jpeg=(camera or "none").encode()))
    assert [(tile["device"], tile["camera"]) for tile in state.changes()] == [
        ("press-1", "left"),
        ("press-1", "right"),
        ("press-1", ""),
    ]
    assert state.heatmap("press-1", "right").jpeg == b"right"


def test_devices_of_one_name_at_two_places_are_tiles_of_their_own():
    state = LineState(LIMITS)
    for place in ("hamburg/line1", "hamburg/line2"):
        state.apply(received(heatmap(), 0, place=place, jpeg=place.encode()))
        state.apply(received(event(place), 0, place=place))
    assert [(tile["place"], tile["device"]) for tile in state.changes()] == [
        ("hamburg/line1", "press-1"),
        ("hamburg/line2", "press-1"),
    ]
    assert state.heatmap("press-1", place="hamburg/line2").jpeg == b"hamburg/line2"
    assert state.heatmap("press-1") is None
    assert {(found["place"], found["id"]) for found in state.events()} == {
        ("hamburg/line1", "hamburg/line1"),
        ("hamburg/line2", "hamburg/line2"),
    }


def test_texts_of_any_length_are_cut():
    state = LineState(LIMITS)
    state.apply(received(stats(engine="e" * 10**6, bundle="b" * 10**6), 0))
    assert max(len(only(state)["stats"][key]) for key in ("engine", "bundle")) <= 1000


@pytest.mark.parametrize(("given_threshold", "shown"), [(0.8, 0.8), (1.0, None)])
def test_a_review_threshold_is_shown_where_there_is_a_band(given_threshold, shown):
    state = LineState(LIMITS)
    state.apply(received(score(0.9, "review", review_threshold=given_threshold), 0))
    assert only(state)["score"].get("review_threshold") == shown
    assert only(state)["condition"]["name"] == "review"
    assert only(state)["points"][0][2] == 1


def test_drift_is_shown():
    state = LineState(LIMITS)
    state.apply(received(stats(drift_alarm=1, drift_log10=2.5, drift_psi=0.3), 0))
    shown = only(state)["stats"]
    assert (shown["drift_alarm"], shown["drift_log10"], shown["drift_psi"]) == (1, 2.5, 0.3)


def test_losses_of_all_queues_are_added():
    state = LineState(LIMITS)
    queues = {
        "score": {"depth": 0, "dropped": 3},
        "event": {"depth": 0, "dropped": 2},
        "heatmap": {"depth": 0, "dropped": 1},
    }
    state.apply(received(stats(queues=queues, events_refused=4), 0))
    shown = only(state)["stats"]
    assert (shown["dropped"], shown["lost"], shown["events_lost"]) == (2, 6, 6)
