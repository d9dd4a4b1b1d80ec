from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import inspection

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.publishing.delivery_stats import DeliveryStats
from edge_occ.mqtt.publishing.send_queue import SendQueue


def queue(score_hz: float = 0, heatmap_hz: float = 2, **bounds: int) -> tuple[SendQueue, DeliveryStats]:
    stats = DeliveryStats()
    return SendQueue(stats, score_hz, heatmap_hz, **bounds), stats


def indices(live: SendQueue) -> list[int]:
    return [item.frame.index for item in live.next_scores(1000)]


@given(st.lists(st.one_of(st.booleans(), st.integers(0, 5), st.just("drop")), max_size=60))
def test_every_loss_is_counted_and_the_queue_is_bounded(steps):
    """A truth value puts an anomalous or normal frame, a number takes so many scores."""
    live, stats = queue(max_scores=4)
    put = heatmaps_out = 0
    taken: list[int] = []
    for step in steps:
        if step == "drop":
            live.drop_all()
        elif isinstance(step, bool):
            live.put(inspection(put, 2.0 if step else 0.5))
            put += 1
        else:
            scores = [item.frame.index for item in live.next_scores(step)]
            assert len(scores) <= step
            taken += scores
        heatmaps_out += live.next_heatmap(float(put)) is not None
        depths, counts = live.depths, stats.counts()
        assert depths["score"] <= 4
        assert put == len(taken) + counts.dropped.get("score", 0) + depths["score"]
        assert put == heatmaps_out + counts.superseded + counts.dropped.get("heatmap", 0) + depths["heatmap"]
    assert taken == sorted(set(taken))


def test_waiting_scores_have_no_pixels():
    live, _ = queue()
    live.put(inspection(0))
    (light,) = live.next_scores(1)
    assert light.frame.image.size == light.scores.map.size == 0
    assert light.scores.score == 0.5


def test_full_scores_drop_the_oldest():
    live, stats = queue(max_scores=3)
    for index in range(5):
        live.put(inspection(index))
    assert indices(live) == [2, 3, 4]
    assert stats.counts().dropped == {"score": 2}


def test_the_age_is_that_of_the_oldest_score_that_waits():
    live, _ = queue()
    assert live.age(7.0) == 0
    live.put(inspection(0, captured=3.0))
    live.put(inspection(1, captured=5.0))
    assert live.age(7.0) == 4.0
    live.next_scores(1)
    assert live.age(7.0) == 2.0


def test_a_pause_delays_even_an_anomalous_heatmap():
    live, _ = queue()
    live.put(inspection(0, 2.0))
    live.pause_heatmaps(9.0)
    assert live.heatmap_wait(7.0) == 2.0
    live.pause_heatmaps(8.0)
    assert live.next_heatmap(8.9) is None
    assert live.next_heatmap(9.0) is not None


def test_a_normal_frame_does_not_displace_an_anomalous_heatmap():
    live, _ = queue()
    live.put(inspection(0))
    live.put(inspection(1, 2.0))
    live.put(inspection(2))
    assert live.next_heatmap(0.0).frame.index == 1
    live.put(inspection(3, event=Phase.START))
    live.put(inspection(4))
    live.put(inspection(5, 2.0))
    assert live.next_heatmap(10.0).frame.index == 5


def test_heatmaps_keep_their_rate_and_anomalous_ones_a_faster_one():
    live, _ = queue(heatmap_hz=2)
    assert live.heatmap_wait(0.0) is None
    live.put(inspection(0))
    assert live.next_heatmap(100.0) is not None
    live.put(inspection(1))
    assert live.heatmap_wait(100.125) == 0.375
    assert live.next_heatmap(100.375) is None
    assert live.next_heatmap(100.375, hurry=True) is not None
    live.put(inspection(2, 2.0))
    assert live.next_heatmap(100.4375) is None
    assert live.next_heatmap(100.5) is not None


def test_no_heatmaps_at_a_rate_of_zero():
    live, stats = queue(heatmap_hz=0)
    live.put(inspection(0, 2.0, event=Phase.START))
    assert live.next_heatmap(1e9, hurry=True) is None
    assert stats.counts().superseded == 0


def test_scores_are_thinned_by_capture_but_anomalous_ones_pass():
    live, stats = queue(score_hz=10)
    jitter = [0.0, 0.011, -0.012, 0.004]
    for index in range(40):
        score = 2.0 if index == 13 else 0.5
        live.put(inspection(index, score, captured=50 + index / 20 + jitter[index % 4]))
    taken = indices(live)
    assert 13 in taken
    assert 19 <= len(taken) <= 22
    assert stats.counts().thinned == 40 - len(taken)
