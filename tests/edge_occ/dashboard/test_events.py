"""Events from messages that come twice, out of order, or not at all."""

from dashboard_helpers import event, milliseconds
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.dashboard.events import EventRecord


def merged(messages):
    record = EventRecord("e")
    for message in messages:
        record.merge(message)
    return record


MESSAGES = st.builds(
    lambda phase, peak, seconds, frames, historical: event(
        "e", phase, peak, seconds, frames=frames, historical=historical
    ),
    st.sampled_from(["start", "update", "end"]),
    st.integers(1, 4),
    st.integers(0, 9),
    st.integers(1, 9),
    st.booleans(),
)


@given(st.lists(MESSAGES, min_size=1, max_size=8), st.randoms())
def test_an_event_is_the_same_in_any_order_and_with_repetitions(messages, random):
    """Compared with what the definitions say, one by one."""
    again = [*messages, *random.choices(messages, k=3)]
    random.shuffle(again)
    of = {phase: [m for m in messages if m.phase.value == phase] for phase in ("start", "update", "end")}
    peak = max(m.peak for m in messages)
    at_peak = [m.ts for m in of["start"] + of["update"] if m.peak == peak]
    for record in (merged(messages), merged(again)):
        assert record.started == min((m.ts for m in of["start"]), default=None)
        assert record.ended == min((m.ts for m in of["end"]), default=None)
        assert record.peak == peak
        assert record.peak_at == min(at_peak, default=None)
        assert record.frames == max(m.frames for m in messages)
        assert record.historical == any(m.historical for m in messages)
        assert record.is_open(latest=True) == (not of["end"])
        assert not record.is_open(latest=False)


def test_what_is_not_known_has_no_key():
    """Of an event that the dashboard saw only the end of, because it began later."""
    view = merged([event("e", "end", 3, seconds=7, reason="interrupted")]).view(latest=True)
    assert view == {
        "id": "e",
        "ended": milliseconds(7),
        "reason": "interrupted",
        "peak": 3,
        "frames": 1,
        "boxes": 0,
        "open": 0,
        "historical": 0,
        "muted": 0,
    }


def test_missed_messages_close_an_event_until_it_is_heard_of_again():
    record = merged([event("e", "start")])
    record.missed = True
    assert not record.is_open(latest=True)
    record.merge(event("e", "update", 3))
    assert record.is_open(latest=True)


def test_evidence_is_that_of_the_highest_peak():
    def message(phase, peak, frame, **more):
        return event("e", phase, peak, evidence_frame=frame, **more)

    record = merged(
        [
            message("start", 2, "a.jpg"),
            message("update", 5, "b.jpg", evidence_heatmap="b-map.jpg"),
            message("end", 5, ""),
        ]
    )
    assert record.evidence == {"evidence_frame": "b.jpg", "evidence_heatmap": "b-map.jpg"}
    assert record.view(latest=True)["evidence_frame"] == "b.jpg"
    record.merge(message("update", 9, "x" * 5000))
    assert record.evidence["evidence_frame"] == "b.jpg", "a path that no file system has is left out"
