"""The figures of a run, and the lines that show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RunSummary:
    """The figures of a run.

    Attributes:
        frames: frames scored.
        dropped: frames dropped by the source.
        anomalous: frames above the threshold.
        events: events begun.
        seconds: from the first frame scored to the last.
        verdict_ms: p50, p95 and p99 from capture to verdict, of the last 5,000 to 10,000 frames, each within
            :data:`~edge_occ.inspection.metrics.RELATIVE_ERROR`; empty without frames.
        faults: frames that could not be inspected, by reason.
        lost: errors of the outputs, by name of the output.
        for_review: frames between the review threshold and the threshold.
    """

    frames: int
    dropped: int
    anomalous: int
    events: int
    seconds: float
    verdict_ms: Mapping[str, float]
    faults: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    for_review: int = 0

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def lines(self) -> list[str]:
        """Return the figures as lines for people; faults and losses only where there are any."""
        latency = ", ".join(f"{name} {value:.1f}" for name, value in self.verdict_ms.items()) or "-"
        review = f"{self.for_review} for review, " if self.for_review else ""
        lines = [
            f"{self.frames} frames, {self.fps:.1f}/s, {self.dropped} dropped; {self.anomalous} anomalous, {review}"
            f"{self.events} events; capture to verdict {latency} ms"
        ]
        if self.faults:
            lines.append("not inspected: " + ", ".join(f"{count} {reason}" for reason, count in self.faults.items()))
        if self.lost:
            lines.append("output lost: " + ", ".join(f"{count} of {name}" for name, count in self.lost.items()))
        return lines
