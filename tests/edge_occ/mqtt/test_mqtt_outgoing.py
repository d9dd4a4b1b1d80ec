from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import inspection

from edge_occ.decision import Phase
from edge_occ.mqtt.ledger import Ledger
from edge_occ.mqtt.outgoing import Outgoing


def queues(score_hz: float = 0, heatmap_hz: float = 2, **bounds: int) -> tuple[Outgoing, Ledger]:
    ledger = Ledger()
    return Outgoing(ledger, score_hz, heatmap_hz, **bounds), ledger


def indices(take) -> list[int]:
    return [item.frame.index for item in iter(take, None)]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.booleans(), st.sampled_from([None, *Phase])), st.sampled_from(["score", "event", "drop"])
        ),
        max_size=60,
    )
)
def test_nothing_is_lost_uncounted_and_nothing_grows(steps):
    outgoing, ledger = queues(most_scores=4, most_events=3)
    put = events = scores_out = events_out = heatmaps_out = 0
    last_score = last_event = -1
    for step in steps:
        if step == "score":
            taken = outgoing.next_score()
            if taken is not None:
                assert taken.frame.index > last_score
                last_score, scores_out = taken.frame.index, scores_out + 1
        elif step == "event":
            taken = outgoing.next_event()
            if taken is not None:
                assert taken.inspection.frame.index > last_event
                last_event, events_out = taken.inspection.frame.index, events_out + 1
        elif step == "drop":
            outgoing.drop_live()
        else:
            anomalous, phase = step
            outgoing.put(inspection(put, 2.0 if anomalous else 0.5, event=phase), online=True)
            put, events = put + 1, events + (phase is not None)
        heatmaps_out += outgoing.next_heatmap(float(put)) is not None
        depths, summary = outgoing.depths, ledger.summary()
        assert depths["score"] <= 4
        assert depths["event"] <= 3
        assert put == scores_out + summary.dropped.get("score", 0) + depths["score"]
        assert events == events_out + summary.dropped.get("event", 0) + depths["event"]
        assert put == heatmaps_out + summary.superseded + summary.dropped.get("heatmap", 0) + depths["heatmap"]


def test_what_waits_holds_no_pixels():
    outgoing, _ = queues()
    outgoing.put(inspection(0, event=Phase.START), online=True)
    event = outgoing.next_event()
    assert event is not None
    for light in (outgoing.next_score(), event.inspection):
        assert light.frame.image.size == light.scores.map.size == 0
        assert light.scores.score == 0.5


def test_full_scores_drop_the_oldest():
    outgoing, ledger = queues(most_scores=3)
    for index in range(5):
        outgoing.put(inspection(index), online=True)
    assert indices(outgoing.next_score) == [2, 3, 4]
    assert ledger.summary().dropped == {"score": 2}


def test_full_events_drop_updates_before_starts_and_ends():
    outgoing, ledger = queues(most_events=3)
    phases = [Phase.START, Phase.UPDATE, Phase.UPDATE, Phase.END, Phase.START, Phase.END]
    for index, phase in enumerate(phases):
        outgoing.put(inspection(index, event=phase), online=True)
    assert [item.inspection.frame.index for item in iter(outgoing.next_event, None)] == [3, 4, 5]
    assert ledger.summary().dropped == {"event": 3}


def test_returned_events_come_first_in_their_order():
    outgoing, _ = queues()
    for index in range(4):
        outgoing.put(inspection(index, event=Phase.UPDATE), online=index > 0)
    taken = [outgoing.next_event() for _ in range(2)]
    outgoing.return_events(taken)
    again = list(iter(outgoing.next_event, None))
    assert [(item.inspection.frame.index, item.offline) for item in again] == [
        (0, True), (1, False), (2, False), (3, False)
    ]  # fmt: skip


def test_a_normal_frame_does_not_displace_an_anomalous_heatmap():
    outgoing, _ = queues()
    outgoing.put(inspection(0), online=True)
    outgoing.put(inspection(1, 2.0), online=True)
    outgoing.put(inspection(2), online=True)
    assert outgoing.next_heatmap(0.0).frame.index == 1
    outgoing.put(inspection(3, event=Phase.START), online=True)
    outgoing.put(inspection(4), online=True)
    outgoing.put(inspection(5, 2.0), online=True)
    assert outgoing.next_heatmap(10.0).frame.index == 5


def test_heatmaps_keep_their_rate_and_anomalous_ones_a_faster_one():
    outgoing, _ = queues(heatmap_hz=2)
    assert outgoing.heatmap_wait(0.0) is None
    outgoing.put(inspection(0), online=True)
    assert outgoing.next_heatmap(100.0) is not None
    outgoing.put(inspection(1), online=True)
    assert outgoing.heatmap_wait(100.125) == 0.375
    assert outgoing.next_heatmap(100.375) is None
    assert outgoing.next_heatmap(100.375, hurry=True) is not None
    outgoing.put(inspection(2, 2.0), online=True)
    assert outgoing.next_heatmap(100.4375) is None
    assert outgoing.next_heatmap(100.5) is not None


def test_no_heatmaps_at_a_rate_of_zero():
    outgoing, ledger = queues(heatmap_hz=0)
    outgoing.put(inspection(0, 2.0, event=Phase.START), online=True)
    assert outgoing.next_heatmap(1e9, hurry=True) is None
    assert ledger.summary().superseded == 0


def test_scores_are_thinned_by_capture_but_anomalous_ones_pass():
    outgoing, ledger = queues(score_hz=10)
    jitter = [0.0, 0.011, -0.012, 0.004]
    for index in range(40):
        score = 2.0 if index == 13 else 0.5
        outgoing.put(inspection(index, score, captured=50 + index / 20 + jitter[index % 4]), online=True)
    taken = indices(outgoing.next_score)
    assert 13 in taken
    assert 19 <= len(taken) <= 22
    assert ledger.summary().thinned == 40 - len(taken)


def test_quantiles_are_of_the_latest_latencies():
    ledger = Ledger()
    assert ledger.summary().latency_p50_ms is None
    for value in [1e6] * 50 + list(range(10_000)):
        ledger.latency(value)
    summary = ledger.summary()
    assert (summary.latency_p50_ms, summary.latency_p95_ms) == (5000, 9500)
