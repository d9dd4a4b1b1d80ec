"""False alarms as events: how many a recorded sequence of good frames gives with k of n.

The declared rate is of frames.  With k of n the rate of events depends on how frames depend on each other: several
frames of one part score alike, so that one odd part makes several anomalous frames in a row.  A formula for independent
frames would be too optimistic; a recording of good frames, resampled in blocks, keeps the dependence between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_occ.bundle.conformal import Verdict
from edge_occ.inspection.events import EventTracker, Phase


@dataclass(frozen=True)
class EventRate:
    """False events in 1000 good frames.

    Attributes:
        mean: over all resampled sequences.
        upper_95: 95 % quantile over them.
    """

    mean: float
    upper_95: float


def count_events(scores: Sequence[float], threshold: float, tracker: EventTracker) -> int:
    """Return the events that an inspector starts on a sequence of scores.

    Args:
        scores: in the order of capture.
        threshold: score above which a frame is anomalous.
        tracker: with the settings of the line; without an event before and afterwards.
    """
    changes = [tracker.step(Verdict(score, 1.0, threshold, score > threshold)) for score in scores]
    tracker.finish()
    return sum(change is not None and change.phase is Phase.START for change in changes)


def resampled_event_rate(
    scores: Sequence[float],
    threshold: float,
    tracker: EventTracker,
    *,
    block: int = 1,
    repeats: int = 200,
    seed: int = 0,
) -> EventRate:
    """Estimate the rate of false events from a recording of good frames by the circular block bootstrap.

    Args:
        scores: of good frames, in the order of capture, at least one.
        threshold: score above which a frame is anomalous.
        tracker: with the settings of the line; without an event before and afterwards.
        block: frames that stay together, at least 1: several times ``n`` and several times the frames that show one
            part.  With 1 the frames count as independent.
        repeats: resampled sequences, each as long as the recording.
        seed: of the resampling.

    Raises:
        ValueError: there is no score, or ``block`` or ``repeats`` is below 1.
    """
    if not len(scores) or block < 1 or repeats < 1:
        raise ValueError("a rate of events needs scores, and block and repeats of at least 1")
    recorded, chance = np.asarray(scores, np.float64), np.random.default_rng(seed)
    length, counts = len(recorded), []
    for _ in range(repeats):
        begins = chance.integers(length, size=-(-length // block))
        places = (begins[:, None] + np.arange(block)).ravel()[:length] % length
        counts.append(count_events(recorded[places].tolist(), threshold, tracker))
    rates = np.array(counts) * 1000 / length
    return EventRate(float(rates.mean()), float(np.quantile(rates, 0.95)))
