"""Pictures of the most informative test images, for the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.conformal import Verdict
from edge_occ.bundle.manifest import Calibration
from edge_occ.common.images import read_image
from edge_occ.output.preview import picture_row
from engines.base import Engine
from trainer.data.layout import LabelledImage
from trainer.evaluation.pictures import scored_pair

HARDEST, TYPICAL = 4, 8
"""Maximum numbers of pictures in a group."""


@dataclass(frozen=True)
class ScoredImage:
    """A test image with its verdict."""

    image: LabelledImage
    verdict: Verdict

    @property
    def name(self) -> str:
        """Kind and file name."""
        return f"{self.image.kind}/{self.image.path.name}"


@dataclass(frozen=True)
class Case:
    """A scored image with its JPEG picture: the image with the ground truth outlined, and its heatmap."""

    scored: ScoredImage
    jpeg: bytes


@dataclass(frozen=True)
class Cases:
    """Pictures of selected test images.

    Attributes:
        defects: defective images with the lowest scores, the lowest first.
        good: good images with the highest scores, the highest first.
        typical: the image with the median score of each kind of defect.
    """

    defects: tuple[Case, ...]
    good: tuple[Case, ...]
    typical: tuple[Case, ...]


MaskReader = Callable[[LabelledImage, tuple[int, ...]], NDArray[np.bool_]]
"""Reads the ground truth of an image; the second argument is the image's shape."""


def picture_cases(
    records: Sequence[ScoredImage],
    engine: Engine,
    calibration: Calibration,
    read_mask: MaskReader,
    white: int | None = None,
) -> Cases:
    """Select the cases, and read and score them again for their pictures, so that no frames are kept in memory.

    Raises:
        InputError: an image can no longer be read.
    """

    def picture(record: ScoredImage) -> Case:
        frame = read_image(record.image.path, white)
        mask = read_mask(record.image, frame.shape)
        return Case(record, picture_row(scored_pair(frame, engine.infer(frame).map, calibration, mask)))

    def pictures(chosen: Iterable[ScoredImage]) -> tuple[Case, ...]:
        return tuple(picture(record) for record in chosen)

    ranked = sorted(records, key=lambda record: record.verdict.score)
    defects = [record for record in ranked if record.image.defective]
    good = [record for record in ranked if not record.image.defective]
    return Cases(
        defects=pictures(defects[:HARDEST]),
        good=pictures(good[: -HARDEST - 1 : -1]),
        typical=pictures(_typical(defects)[:TYPICAL]),
    )


def _typical(ranked: Sequence[ScoredImage]) -> list[ScoredImage]:
    kinds = sorted({record.image.kind for record in ranked})
    by_kind = [[record for record in ranked if record.image.kind == kind] for kind in kinds]
    return [of_kind[len(of_kind) // 2] for of_kind in by_kind]
