"""The result of a bundle on a labelled set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edge_occ.bundle.manifest import Calibration
from edge_occ.bundle.pose import NoPose
from edge_occ.common.printable import printable
from engines.parity import Parity
from trainer.data.layout import LabelledImage
from trainer.evaluation.cases import Cases, ScoredImage
from trainer.evaluation.detection import Detection, ImageScores, detect


@dataclass(frozen=True)
class FaultedImage:
    """A test image that has no score, as its part cannot be turned to the pose of the training.

    Attributes:
        image: the image.
        fault: why.
    """

    image: LabelledImage
    fault: NoPose


@dataclass(frozen=True)
class DefectResult:
    """Detection of one kind of defect against all good images.

    Attributes:
        images: number of images of this kind.
        faulted: number of them without a score.
        detected: number of them with a score above the threshold.
        image_auroc, pixel_auroc: on these and the good images with a score; ``None`` where undefined.
        aupimo: mean over these images; ``None`` where undefined.
    """

    images: int
    faulted: int
    detected: int
    image_auroc: float | None
    pixel_auroc: float | None
    aupimo: float | None


@dataclass(frozen=True)
class Evaluation:
    """Result of a bundle on a labelled set.

    Attributes:
        bundle, data: path of the bundle and of the labelled set.
        records: every image with a score, with its verdict, in the order of the folders.
        faulted: images that are a fault in place of a verdict: neither found nor false alarms.
        skipped: path and problem of each unusable image.
        warnings: limitations of the figures, a sentence each.
        image_auroc, pixel_auroc, aupro, f1_max: see :mod:`trainer.evaluation.metrics`; ``None`` where undefined.
        aupimos: AUPIMO of each defective image with a mask, in the order of ``defects``; empty where undefined.
        per_defect: results by kind of defect.
        calibration: threshold and guarantee of the bundle.
        held_out: the held-out scores of its training that they follow from.
        engine, precision, parity: engine that computed the scores, and its parity with the trainer.
        seconds: duration.
        cases: pictures of selected images.
    """

    bundle: Path
    data: Path
    records: tuple[ScoredImage, ...]
    faulted: tuple[FaultedImage, ...]
    skipped: tuple[str, ...]
    warnings: tuple[str, ...]
    image_auroc: float | None
    pixel_auroc: float | None
    aupro: float | None
    aupimos: tuple[float, ...]
    f1_max: float | None
    per_defect: Mapping[str, DefectResult]
    calibration: Calibration
    held_out: tuple[float, ...]
    engine: str
    precision: str
    parity: Parity
    seconds: float
    cases: Cases

    @property
    def good(self) -> list[ScoredImage]:
        """Records of the good images."""
        return [record for record in self.records if not record.image.defective]

    @property
    def defects(self) -> list[ScoredImage]:
        """Records of the defective images."""
        return [record for record in self.records if record.image.defective]

    @property
    def aupimo(self) -> float | None:
        """Mean over the defective images with masks; ``None`` where undefined."""
        return mean(self.aupimos)

    @property
    def false_alarms(self) -> int:
        """Number of good images with a score above the threshold."""
        return sum(record.verdict.anomalous for record in self.good)

    @property
    def detected(self) -> int:
        """Number of defective images with a score above the threshold."""
        return sum(record.verdict.anomalous for record in self.defects)

    @cached_property
    def scores(self) -> ImageScores:
        """Image scores of the held-out training images and of the test images."""
        good, defects = ([record.verdict.score for record in records] for records in (self.good, self.defects))
        return ImageScores(np.array(self.held_out), np.array(good), np.array(defects), self._faulted_defects)

    @property
    def _faulted_defects(self) -> int:
        return sum(faulted.image.defective for faulted in self.faulted)

    @cached_property
    def detection(self) -> tuple[Detection, ...]:
        """Detection at the declared rate, and at :data:`trainer.evaluation.detection.RATES`."""
        return detect(self.scores, self.calibration)

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``evaluate --json``; metrics are fractions of 1 with six digits, or ``None``."""
        good, faulted_defects = len(self.good), self._faulted_defects
        held_out = {"auroc_held_out": _six(self.scores.auroc_held_out)}
        return {
            "detection": [{**detection.as_json(), **held_out} for detection in self.detection],
            "images": {
                "good": good + len(self.faulted) - faulted_defects,
                "defect": len(self.defects) + faulted_defects,
                "faulted": {"good": len(self.faulted) - faulted_defects, "defect": faulted_defects},
                "with_mask": sum(bool(record.image.masks) for record in self.defects),
                "skipped": list(self.skipped),
            },
            "warnings": list(self.warnings),
            "image_auroc": _six(self.image_auroc),
            "pixel_auroc": _six(self.pixel_auroc),
            "aupro": _six(self.aupro),
            "aupimo": _six(self.aupimo),
            "f1_max": _six(self.f1_max),
            "per_defect": {
                printable(kind): {name: _six(value) for name, value in vars(result).items()}
                for kind, result in self.per_defect.items()
            },
            "false_alarms": {
                "declared": self.calibration.false_alarm_rate,
                "calibration_n": self.calibration.n,
                "upper_95": _six(self.calibration.upper_95),
                "observed": _six(self.false_alarms / good) if good else None,
                "observed_n": good,
            },
            "seconds": round(self.seconds, 3),
            "engine": {"name": self.engine, "precision": self.precision, "parity_score_error": self.parity.score_error},
        }


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; ``None`` for no values."""
    return float(np.mean(values)) if values else None


def _six(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
