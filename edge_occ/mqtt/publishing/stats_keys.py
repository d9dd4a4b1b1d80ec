"""Keys of the statistics from the figures behind them; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_occ.inspection.drift import DriftState
from edge_occ.inspection.snapshot import MachineState, Snapshot
from edge_occ.mqtt.stats_payload import Queues, QueueStats
from edge_occ.mqtt.topics import EVENT, HEATMAP, SCORE


def of_faults(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the keys of frames that were not inspected, from their numbers by reason."""
    return {
        "faults": sum(counts.values()),
        **{f"faults_{reason.replace(' ', '_')}": count for reason, count in counts.items()},
    }


def of_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """Return the keys of what others measure: losses, queues, latencies, the machine and drift."""
    return {
        "dropped": snapshot.dropped,
        "output_lost": snapshot.output_lost,
        "evidence_lost": snapshot.evidence_lost,
        "outbox_bytes": snapshot.outbox_bytes,
        **of_queues(snapshot),
        **snapshot.quantiles(),
        **of_machine(snapshot.machine),
        **of_drift(snapshot.drift),
    }


def of_queues(snapshot: Snapshot) -> dict[str, Any]:
    """Return the keys of messages that wait, were dropped or refused."""
    depths, dropped = snapshot.waiting, snapshot.lost
    queues = {kind: QueueStats(depth=depth, dropped=dropped.get(kind, 0)) for kind, depth in depths.items()}
    return {
        "queues": Queues(**queues),
        "queue_score_depth": depths[SCORE],
        "queue_event_depth": depths[EVENT],
        "queue_heatmap_depth": depths[HEATMAP],
        "events_dropped": dropped.get(EVENT, 0),
        "events_refused": snapshot.refused.get(EVENT, 0),
    }


def of_machine(machine: MachineState) -> dict[str, float]:
    """Return the keys of temperature and clocks."""
    return {
        "temperature_max_c": machine.temperature_max or 0.0,
        "throttled": int(machine.throttled),
        "cpu_clock": round(machine.clocks.get("cpu", 0.0), 3),
    }


def of_drift(drift: DriftState) -> dict[str, float]:
    """Return the keys of the comparison with the calibration."""
    return {
        "drift_alarm": int(drift.alarm),
        "drift_log10": round(drift.log10, 3),
        "drift_psi": round(drift.stability_index, 4),
        "anomalous_share": round(drift.anomalous_share, 4),
        "declared_rate": round(drift.declared_rate, 6),
    }
