"""One camera's figures as keys and as a line."""

from edge_occ.inspection.drift import DriftState
from edge_occ.inspection.metrics import Latencies, Stage
from edge_occ.inspection.snapshot import MachineState, Snapshot
from edge_occ.mqtt.stats_payload import Stats


def test_every_quantile_is_a_key_of_the_statistics_and_a_number_before_the_first_value():
    keys = Snapshot(latencies=Latencies().read()).quantiles()
    assert set(keys) <= set(Stats.model_fields)
    assert set(keys.values()) == {0.0}
    assert {key for key in Stats.model_fields if key.endswith("_ms")} == set(keys)


def test_a_quantile_is_of_its_stage():
    latencies = Latencies()
    latencies.record(Stage.ENGINE, 0.02)
    latencies.record(Stage.TOTAL, 0.5)
    keys = {key: value for key, value in Snapshot(latencies=latencies.read()).quantiles().items() if value}
    assert {key.split("_")[0] for key in keys} == {"engine", "latency"}
    assert 19.6 < keys["engine_p50_ms"] < 20.4
    assert 490 < keys["latency_p99_ms"] < 510


def test_the_line_has_what_is_known():
    shown = Snapshot(
        frames=7,
        dropped=2,
        faults={"black": 3, "torn": 1},
        evidence_lost=1,
        output_lost=6,
        waiting={"event": 5},
        lost={"event": 8},
        refused={"event": 9},
        outbox_bytes=321,
        drift=DriftState(alarm=True, anomalous_share=0.25),
        machine=MachineState({"cpu-thermal": 61.5, "gpu-thermal": 71.25}, throttled=True),
    )
    line = shown.line().split()
    expected = (
        "frames=7 anomalous=0 for_review=0 events=0 dropped=2 faults=4 evidence_lost=1 output_lost=6 drift_alarm=1 "
        "anomalous_share=0.25 queue_event_depth=5 queue_event_dropped=8 queue_event_refused=9 outbox_bytes=321 "
        "temperature_max_c=71.2"
    )
    assert line == [*expected.split(), "throttled=1"]
    assert "temperature" not in Snapshot().line()
    assert "queue" not in Snapshot().line()
    assert "outbox" not in Snapshot().line()
    assert "\n" not in shown.line()
