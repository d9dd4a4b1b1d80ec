"""False alarms as events: how many a recorded sequence of good frames gives with k of n.

The declared rate is of frames.  With k of n the rate of events depends on how frames depend on each other: several
frames of one part score alike, so that one odd part makes several anomalous frames in a row.  A formula for independent
frames would be too optimistic; a recording of good frames, resampled in blocks, keeps the dependence between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_occ.bundle.conformal import Verdict, beta_quantile
from edge_occ.inspection.events import EventTracker, Phase

_CONFIDENCE = 0.95
_PAUSE = 1e6
"""Seconds between resampled blocks, longer than any gap between parts: a block begins with another part."""


@dataclass(frozen=True)
class EventRate:
    """False events in 1000 good frames.

    Attributes:
        mean: over all resampled sequences.
        upper_95: their 95 % quantile, or the 95 % bound (Clopper and Pearson) of the events in the recording itself
            where that is higher: a short recording without events does not show that there are none.
    """

    mean: float
    upper_95: float


def count_events(verdicts: Sequence[Verdict], captured: Sequence[float], tracker: EventTracker) -> int:
    """Return the events that an inspector starts on a sequence of verdicts.

    Args:
        verdicts: in the order of capture.
        captured: time of each frame, seconds.
        tracker: with the settings of the line; without an event before and afterwards.
    """
    started = 0
    for verdict, moment in zip(verdicts, captured, strict=True):
        if tracker.is_new_part(moment):
            tracker.finish()
        change = tracker.step(verdict, moment)
        started += change is not None and change.phase is Phase.START
    tracker.finish()
    return started


def resampled_event_rate(
    verdicts: Sequence[Verdict],
    captured: Sequence[float],
    tracker: EventTracker,
    *,
    block: int = 1,
    repeats: int = 200,
    seed: int = 0,
) -> EventRate:
    """Estimate the rate of false events from a recording of good frames by the circular block bootstrap.

    Args:
        verdicts: on good frames, in the order of capture, at least one.
        captured: time of each frame, seconds.
        tracker: with the settings of the line; without an event before and afterwards.
        block: frames that stay together, at least 1: several times ``n`` and several times the frames that show one
            part.  With 1 the frames count as independent.
        repeats: resampled sequences, each as long as the recording.
        seed: of the resampling.

    Raises:
        ValueError: there is no verdict, or ``block`` or ``repeats`` is below 1.
    """
    if not len(verdicts) or block < 1 or repeats < 1:
        raise ValueError("a rate of events needs verdicts, and block and repeats of at least 1")
    length, chance, counts = len(verdicts), np.random.default_rng(seed), []
    block = min(block, length)
    times = np.asarray(captured, np.float64)
    period = np.ptp(times) + _PAUSE
    # The recording twice, so that a block may go on from its end to its beginning.
    times = np.concatenate([times, times + period])
    for _ in range(repeats):
        begins = chance.integers(length, size=-(-length // block))
        places = begins[:, None] + np.arange(block)
        moments = times[places] - times[begins][:, None] + 3 * period * np.arange(len(begins))[:, None]
        drawn = [verdicts[place] for place in (places % length).ravel()[:length].tolist()]
        counts.append(count_events(drawn, moments.ravel()[:length].tolist(), tracker))
    recorded = count_events(verdicts, captured, tracker)
    bound = beta_quantile(_CONFIDENCE, recorded + 1, length - recorded) if recorded < length else 1.0
    rates = np.array(counts) * 1000 / length
    return EventRate(float(rates.mean()), max(float(np.quantile(rates, _CONFIDENCE)), 1000 * bound))
