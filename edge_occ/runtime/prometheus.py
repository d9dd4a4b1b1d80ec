"""The endpoint that Prometheus scrapes; needs the extra ``[metrics]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_occ.common.errors import InputError
from edge_occ.inspection.metrics import Distribution, Stage
from edge_occ.inspection.snapshot import MachineState, Snapshot
from edge_occ.mqtt.topics import Origin

_ORIGIN = ("device", "camera")
_COUNTERS = (
    ("frames", "frames", "Frames scored."),
    ("anomalous", "anomalous_frames", "Frames above the threshold."),
    ("for_review", "review_frames", "Frames for review."),
    ("events", "events", "Events begun."),
    ("dropped", "dropped_frames", "Frames dropped by the source."),
    ("evidence_lost", "evidence_lost", "Starts, peaks and ends of events without their evidence."),
    ("output_lost", "output_lost", "Writes that failed on other outputs."),
)
"""Attribute of a snapshot, name of its counter, description."""

Snapshots = Mapping[Origin, Callable[[], Snapshot]]
"""Functions that return the figures now, by device and camera."""


@contextmanager
def prometheus_endpoint(host: str, port: int, snapshots: Snapshots) -> Iterator[int]:
    """Serve the figures at ``http://host:port/metrics`` for as long as the block lasts; yield the port.

    Args:
        host: address to listen on.
        port: TCP port; 0 for a free one.
        snapshots: called at each scrape, in a thread of the server.

    Raises:
        InputError: the port is taken, or the address is not one of this machine.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(snapshots))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise InputError(
            f"a free port at metrics.host {host}, metrics.port {port}",
            error.strerror or str(error),
            "choose another port: --set metrics.port=9109",
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Figures(Collector):
    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics of all cameras."""
        now = {origin: take() for origin, take in self._snapshots.items()}
        for attribute, name, description in _COUNTERS:
            counter = CounterMetricFamily(f"edge_occ_{name}", description, labels=_ORIGIN)
            for origin, snapshot in now.items():
                counter.add_metric(origin, getattr(snapshot, attribute))
            yield counter
        yield from _by_name(now)
        yield from _gauges(now)
        yield from _latencies(now)
        yield from _machine({origin.device: snapshot.machine for origin, snapshot in now.items()})


def _by_name(now: Mapping[Origin, Snapshot]) -> Iterator[Metric]:
    faults = CounterMetricFamily("edge_occ_faults", "Frames not inspected.", labels=(*_ORIGIN, "reason"))
    lost = CounterMetricFamily("edge_occ_messages_lost", "MQTT messages dropped.", labels=(*_ORIGIN, "kind"))
    refused = CounterMetricFamily(
        "edge_occ_messages_refused", "MQTT messages refused by the broker.", labels=(*_ORIGIN, "kind")
    )
    queue = GaugeMetricFamily(
        "edge_occ_queue_messages", "MQTT messages waiting or not confirmed.", labels=(*_ORIGIN, "kind")
    )
    for origin, snapshot in now.items():
        for family, counts in (
            (faults, snapshot.faults),
            (lost, snapshot.lost),
            (refused, snapshot.refused),
            (queue, snapshot.waiting),
        ):
            for name, count in counts.items():
                family.add_metric((*origin, name), count)
    yield from (faults, lost, refused, queue)


def _gauges(now: Mapping[Origin, Snapshot]) -> Iterator[Metric]:
    alarm = GaugeMetricFamily("edge_occ_drift_alarm", "1 while frames differ from the calibration.", labels=_ORIGIN)
    anomalous = GaugeMetricFamily(
        "edge_occ_anomalous_ratio", "Share of the latest frames above the threshold.", labels=_ORIGIN
    )
    outbox = GaugeMetricFamily("edge_occ_outbox_bytes", "Event messages waiting or not confirmed.", labels=_ORIGIN)
    for origin, snapshot in now.items():
        alarm.add_metric(origin, snapshot.drift.alarm)
        anomalous.add_metric(origin, snapshot.drift.anomalous_share)
        outbox.add_metric(origin, snapshot.outbox_bytes)
    yield from (alarm, anomalous, outbox)


def _latencies(now: Mapping[Origin, Snapshot]) -> Iterator[Metric]:
    stages = HistogramMetricFamily("edge_occ_stage_seconds", "Time in each stage.", labels=(*_ORIGIN, "stage"))
    total = HistogramMetricFamily("edge_occ_latency_seconds", "From capture to hand-over to MQTT.", labels=_ORIGIN)
    for origin, snapshot in now.items():
        for stage, distribution in snapshot.latencies.items():
            if stage is Stage.TOTAL:
                total.add_metric(origin, _buckets(distribution), distribution.sum_ms / 1e3)
            else:
                stages.add_metric((*origin, stage.value), _buckets(distribution), distribution.sum_ms / 1e3)
    yield from (stages, total)


def _buckets(distribution: Distribution) -> Sequence[tuple[str, float]]:
    return [
        ("+Inf" if bound == float("inf") else f"{bound / 1e3:g}", count) for bound, count in distribution.doublings()
    ]


def _machine(now: Mapping[str, MachineState]) -> Iterator[Metric]:
    """Yield what the cameras of one device have in common."""
    temperature = GaugeMetricFamily("edge_occ_temperature_celsius", "Temperatures.", labels=("device", "zone"))
    clock = GaugeMetricFamily(
        "edge_occ_clock_ratio", "Clock rates as a share of the highest allowed.", labels=("device", "unit")
    )
    throttled = GaugeMetricFamily("edge_occ_throttled", "1 while the system lowers clocks.", labels=("device",))
    for device, machine in now.items():
        for zone, degrees in machine.temperatures.items():
            temperature.add_metric((device, zone), degrees)
        for unit, share in machine.clocks.items():
            clock.add_metric((device, unit), share)
        throttled.add_metric((device,), machine.throttled)
    yield from (temperature, clock, throttled)
