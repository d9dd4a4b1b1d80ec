"""Detection at declared false-alarm rates: the defects above each threshold, and the false alarms that it guarantees.

An AUROC ranks images; a line stops or ships parts by a threshold.  The thresholds here follow from the bundle's own
held-out scores, as the one that it inspects with does, so that no test image takes part in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.conformal import beta_quantile, calibrate
from edge_occ.bundle.guarantee import lowest_certified_rate, share_in_words
from edge_occ.bundle.manifest import Calibration
from trainer.evaluation.metrics import image_auroc

RATES = (0.01, 0.02, 0.05, 0.1)
"""False-alarm rates that every set is reported at, after the declared one."""

HEADINGS = ("declared rate", "defects found", "share (95 % interval)", "false alarms", "expected, at most")
"""Of the cells of :meth:`Detection.cells`."""

_TAIL = 0.025


@dataclass(frozen=True)
class ImageScores:
    """Image scores of one bundle, higher is more anomalous.

    Attributes:
        held_out: of normal training images by heads that had not seen them, ``[n]``, at least one.
        good, defects: of the test images, ``[m]`` each; possibly empty.
        faulted_defects: number of further defects without a score, which are not found.
    """

    held_out: NDArray[np.float64]
    good: NDArray[np.float64]
    defects: NDArray[np.float64]
    faulted_defects: int = 0

    @property
    def auroc_held_out(self) -> float | None:
        """AUROC of the defects against the held-out training images; ``None`` without defects.

        Unlike the usual one it does not depend on how the good test images differ from the training images.
        """
        labels = np.repeat([False, True], [len(self.held_out), len(self.defects)])
        return image_auroc(labels, np.concatenate([self.held_out, self.defects]))


@dataclass(frozen=True)
class Detection:
    """Verdicts of one threshold on labelled images.

    Attributes:
        calibration: declared rate, threshold and guarantee.
        found, of: number of defects with a score above the threshold, and of all, with those that have no score.
        false_alarms, false_alarms_of: the same of the good images.
    """

    calibration: Calibration
    found: int
    of: int
    false_alarms: int
    false_alarms_of: int

    @property
    def share(self) -> float | None:
        """Share of the defects that are found; ``None`` without defects."""
        return self.found / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the share; ``None`` without defects."""
        return binomial_interval(self.found, self.of) if self.of else None

    def as_json(self) -> dict[str, Any]:
        """Return the entry of ``evaluate --json``; shares as fractions of 1 with six digits, or ``None``."""
        lower, upper = self.interval or (None, None)
        return {
            "rate": self.calibration.false_alarm_rate,
            "threshold": self.calibration.threshold,
            "certified": self.calibration.certified,
            "lowest_certified_rate": round(lowest_certified_rate(self.calibration.n), 6),
            "found": self.found,
            "of": self.of,
            "share": None if self.share is None else round(self.share, 6),
            "lower_95": None if lower is None else round(lower, 6),
            "upper_95": None if upper is None else round(upper, 6),
            "false_alarms": self.false_alarms,
            "false_alarms_of": self.false_alarms_of,
            "promised": round(self.calibration.expected, 6),
            "promised_upper_95": round(self.calibration.upper_95, 6),
        }

    def cells(self) -> tuple[str, ...]:
        """Return the row of a table for people, under :data:`HEADINGS`."""
        calibration = self.calibration
        return (
            share_in_words(calibration.false_alarm_rate) + ("" if calibration.certified else ", not certified"),
            f"{self.found} of {self.of}" if self.of else "no defects",
            self.share_with_interval,
            f"{self.false_alarms} of {self.false_alarms_of}" if self.false_alarms_of else "no good parts",
            f"{share_in_words(calibration.expected)}, {share_in_words(calibration.upper_95, bound=True)}",
        )

    @property
    def share_with_interval(self) -> str:
        """The share of defects found and its interval, in percent."""
        if self.share is None or self.interval is None:
            return "-"
        lower, upper = self.interval
        return f"{self.share:.1%} ({lower:.1%} to {upper:.1%})"


def detect(scores: ImageScores, declared: Calibration) -> tuple[Detection, ...]:
    """Count what is found at the declared rate and at :data:`RATES`.

    Args:
        scores: of one bundle.
        declared: the bundle's calibration.

    Returns:
        The declared rate first, the others rising.
    """
    further = [rate for rate in RATES if rate != declared.false_alarm_rate]
    return (detect_above(scores, declared), *(detect_at(scores, rate) for rate in further))


def detect_at(scores: ImageScores, rate: float) -> Detection:
    """Count the scores above the threshold for a declared false-alarm rate, between 0 and 0.5."""
    return detect_above(scores, calibrate(scores.held_out, rate))


def detect_above(scores: ImageScores, calibration: Calibration) -> Detection:
    """Count the scores above a threshold."""
    return Detection(
        calibration,
        int((scores.defects > calibration.threshold).sum()),
        len(scores.defects) + scores.faulted_defects,
        int((scores.good > calibration.threshold).sum()),
        len(scores.good),
    )


def binomial_interval(count: int, of: int) -> tuple[float, float]:
    """Return the exact 95 % confidence interval of a share (Clopper and Pearson, 1934), each tail 2.5 % at most.

    Args:
        count: 0 to ``of``.
        of: at least 1.
    """
    lower = beta_quantile(_TAIL, count, of - count + 1) if count else 0.0
    upper = beta_quantile(1 - _TAIL, count + 1, of - count) if count < of else 1.0
    return lower, upper


def table_lines(detections: Sequence[Detection]) -> Iterator[str]:
    """Yield the table in aligned columns of text, and a sentence where the images cannot certify a rate."""
    rows = [HEADINGS, *(detection.cells() for detection in detections)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if (sentence := what_is_certified(detections)) is not None:
        yield sentence


def what_is_certified(detections: Sequence[Detection]) -> str | None:
    """Return a sentence on the rates that the held-out images cannot certify; ``None`` if they certify all."""
    beyond = [d.calibration for d in detections if not d.calibration.certified]
    if not beyond:
        return None
    rates = " and ".join(share_in_words(calibration.false_alarm_rate) for calibration in beyond)
    n = beyond[0].n
    return (
        f"{n} held-out images certify no rate below {share_in_words(lowest_certified_rate(n))}: for {rates}, the "
        "highest held-out score is the threshold."
    )
