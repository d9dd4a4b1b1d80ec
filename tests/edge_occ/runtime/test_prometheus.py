"""The endpoint as a scraper sees it."""

import re
import socket
import urllib.error
import urllib.request

import pytest

from edge_occ.common.errors import InputError
from edge_occ.inspection.drift import DriftState
from edge_occ.inspection.metrics import Latencies, Stage
from edge_occ.inspection.snapshot import MachineState, Snapshot
from edge_occ.mqtt.topics import Origin

parser = pytest.importorskip("prometheus_client.parser", reason="the extra [metrics] is absent here")

from edge_occ.runtime.prometheus import prometheus_endpoint  # noqa: E402 - needs the extra, too

ORDER = ["device", "camera", "reason", "kind", "zone", "unit", "stage", "le"]


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        return answer.read().decode()


def samples(text: str):
    return {
        (sample.name, tuple(map(sample.labels.get, sorted(sample.labels, key=ORDER.index)))): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def left() -> Snapshot:
    latencies = Latencies()
    for seconds in (0.001, 0.02, 0.02):
        latencies.record(Stage.ENGINE, seconds)
    latencies.record(Stage.TOTAL, 0.03)
    return Snapshot(
        frames=5,
        anomalous=2,
        for_review=1,
        events=1,
        dropped=4,
        faults={"black": 3, "part at the edge": 1},
        waiting={"event": 6},
        lost={"score": 2},
        evidence_lost=7,
        output_lost=8,
        refused={"event": 9},
        outbox_bytes=321,
        drift=DriftState(alarm=True, anomalous_share=0.25),
        latencies=latencies.read(),
        machine=MachineState({"cpu-thermal": 61.5}, {"cpu": 0.5}, throttled=True),
    )


def test_a_scrape_has_the_figures_of_every_camera(left):
    taken = []
    cameras = {
        Origin("station-7", "left"): lambda: taken.append(1) or left,
        Origin("station-7", "right"): lambda: Snapshot(frames=9),
    }
    with prometheus_endpoint("127.0.0.1", 0, cameras) as port:
        found = samples(scrape(port))
        scrape(port)
    assert len(taken) == 2, "one snapshot a scrape"
    at = ("station-7", "left")
    counters = ("frames", "anomalous_frames", "review_frames", "events", "dropped_frames")
    assert [found[f"edge_occ_{name}_total", at] for name in counters] == [5, 2, 1, 1, 4]
    assert found["edge_occ_frames_total", ("station-7", "right")] == 9
    assert found["edge_occ_faults_total", (*at, "part at the edge")] == 1
    assert found["edge_occ_messages_lost_total", (*at, "score")] == 2
    assert found["edge_occ_messages_refused_total", (*at, "event")] == 9
    assert found["edge_occ_queue_messages", (*at, "event")] == 6
    assert (found["edge_occ_evidence_lost_total", at], found["edge_occ_output_lost_total", at]) == (7, 8)
    gauges = ("outbox_bytes", "drift_alarm", "anomalous_ratio")
    assert [found[f"edge_occ_{name}", at] for name in gauges] == [321, 1, 0.25]
    assert [found[f"edge_occ_{name}", ("station-7", "right")] for name in gauges] == [0, 0, 0]
    assert found["edge_occ_stage_seconds_count", (*at, "engine")] == 3
    assert found["edge_occ_stage_seconds_sum", (*at, "engine")] == pytest.approx(0.041)
    engine = {
        labels[-1] if name.endswith("bucket") else "": value
        for (name, labels), value in found.items()
        if name == "edge_occ_stage_seconds_bucket" and labels[2] == "engine"
    }
    assert (engine["0.00128"], engine["0.01024"], engine["0.02048"], engine["+Inf"]) == (1, 1, 3, 3)
    assert found["edge_occ_latency_seconds_count", at] == 1
    assert ("edge_occ_stage_seconds_count", (*at, "latency")) not in found
    assert found["edge_occ_throttled", ("station-7",)] in (0, 1)
    assert not any(name.startswith(("python_", "process_")) for name, _ in found)


def test_what_is_not_known_is_absent():
    with prometheus_endpoint("127.0.0.1", 0, {Origin("d", ""): Snapshot}) as port:
        found = samples(scrape(port))
    assert not any("temperature" in name or "clock" in name for name, _ in found)
    assert found["edge_occ_frames_total", ("d", "")] == 0


def test_a_name_with_quotes_and_line_breaks_is_escaped():
    name = 'cpu "0"\\\nedge_occ_frames_total 7'
    machine = MachineState({name: 50.0})
    with prometheus_endpoint("127.0.0.1", 0, {Origin("d", ""): lambda: Snapshot(machine=machine)}) as port:
        found = samples(scrape(port))
    assert found["edge_occ_temperature_celsius", ("d", name)] == 50
    assert found["edge_occ_frames_total", ("d", "")] == 0


def test_a_port_that_is_taken_is_an_error_that_says_what_to_do():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError) as caught, prometheus_endpoint("127.0.0.1", port, {}):
            pass
    assert f"metrics.port {port}" in caught.value.expected
    assert "in use" in caught.value.found
    assert "--set metrics.port=" in caught.value.advice


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_of_another_machine_is_an_error(host):
    with pytest.raises(InputError, match=re.escape(host)), prometheus_endpoint(host, 0, {}):
        pass


def test_the_port_is_free_after_the_run():
    with prometheus_endpoint("127.0.0.1", 0, {Origin(): Snapshot}) as port:
        scrape(port)
    with pytest.raises(urllib.error.URLError):
        scrape(port)
    with prometheus_endpoint("127.0.0.1", port, {Origin(): Snapshot}):
        scrape(port)


def test_a_client_that_sends_nothing_keeps_no_scrape_waiting():
    with (
        prometheus_endpoint("127.0.0.1", 0, {Origin(): Snapshot}) as port,
        socket.create_connection(("127.0.0.1", port)),
    ):
        scrape(port)
