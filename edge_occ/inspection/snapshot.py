"""The figures of a running inspection at one moment, for every output that shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_occ.inspection.drift import DriftState
from edge_occ.inspection.metrics import Distribution, Stage

_PERCENTS = {
    Stage.CAPTURE: (95,),
    Stage.WAIT: (95,),
    Stage.PREPROCESS: (95,),
    Stage.ENGINE: (50, 95),
    Stage.DECIDE: (95,),
    Stage.ENCODE: (95,),
    Stage.PUBLISH: (50, 95, 99),
    Stage.TOTAL: (50, 95, 99),
}


@dataclass(frozen=True)
class MachineState:
    """State of the machine; what it does not show is absent.

    Attributes:
        temperatures: degrees Celsius by thermal zone.
        clocks: clock rates as a share of the highest allowed one; ``cpu`` is the mean of the processors, any other
            name that of a device such as a GPU.
        throttled: whether the system lowers clocks because of a temperature or a current.
    """

    temperatures: Mapping[str, float] = field(default_factory=dict)
    clocks: Mapping[str, float] = field(default_factory=dict)
    throttled: bool = False

    @property
    def temperature_max(self) -> float | None:
        """Highest temperature, degrees Celsius."""
        return max(self.temperatures.values(), default=None)


@dataclass(frozen=True)
class Snapshot:
    """The figures of one camera.

    Attributes:
        frames: frames scored since the start; this and the following counts.
        anomalous: frames above the threshold.
        for_review: frames between the review threshold and the threshold.
        events: events begun.
        dropped: frames dropped by the source.
        evidence_lost: starts, peaks and ends of events whose evidence could not be kept.
        output_lost: writes that failed on other outputs, such as standard output.
        faults: frames that were not inspected, by reason.
        waiting: MQTT messages waiting or not confirmed, by kind.
        lost: MQTT messages dropped, by kind.
        refused: MQTT messages that the broker refused, by kind.
        outbox_bytes: bytes of the event messages waiting or not confirmed.
        drift: the comparison with the calibration.
        latencies: of the stages.
        machine: the machine that inspects.
    """

    frames: int = 0
    anomalous: int = 0
    for_review: int = 0
    events: int = 0
    dropped: int = 0
    evidence_lost: int = 0
    output_lost: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    outbox_bytes: int = 0
    drift: DriftState = field(default_factory=DriftState)
    latencies: Mapping[Stage, Distribution] = field(default_factory=dict)
    machine: MachineState = MachineState()

    def quantiles(self) -> dict[str, float]:
        """Return quantiles of the latest latencies by key, such as ``engine_p95_ms``; 0 before the first value."""
        return {
            f"{stage.value}_p{percent}_ms": round(of.quantile(percent / 100) or 0.0, 3)
            for stage, of in self.latencies.items()
            for percent in _PERCENTS[stage]
        }

    def line(self) -> str:
        """Return the figures as one line of ``key=value``; temperatures and queues only where there are any."""
        hottest = self.machine.temperature_max
        figures: dict[str, object] = {
            "frames": self.frames,
            "anomalous": self.anomalous,
            "for_review": self.for_review,
            "events": self.events,
            "dropped": self.dropped,
            "faults": sum(self.faults.values()),
            "evidence_lost": self.evidence_lost,
            "output_lost": self.output_lost,
            "drift_alarm": int(self.drift.alarm),
            "anomalous_share": f"{self.drift.anomalous_share:.3g}",
            **{key: f"{value:.3g}" for key, value in self.quantiles().items()},
            **{f"queue_{kind}_depth": depth for kind, depth in self.waiting.items()},
            **{f"queue_{kind}_dropped": count for kind, count in self.lost.items()},
            **{f"queue_{kind}_refused": count for kind, count in self.refused.items()},
            **({"outbox_bytes": self.outbox_bytes} if self.waiting else {}),
            **({} if hottest is None else {"temperature_max_c": f"{hottest:.1f}"}),
            "throttled": int(self.machine.throttled),
        }
        return " ".join(f"{key}={value}" for key, value in figures.items())
