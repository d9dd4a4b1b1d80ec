"""``edge-occ evaluate``: a labelled set scored by a bundle's graph in an engine of this machine."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.loading import LoadedEngine, load_engine
from edge_occ.bundle.pose import NoPose
from edge_occ.common.images import read_image
from edge_occ.common.progress import ProgressReport
from edge_occ.inspection.likeness import Likeness
from engines.base import Engine
from trainer.data.layout import GOOD, LabelledImage, find_labelled_images
from trainer.evaluation.cases import ScoredImage, picture_cases
from trainer.evaluation.ground_truth import check_labelled, has_pixels, read_mask
from trainer.evaluation.metrics import Mask, ScoreMap, aupimo, aupro, f1_max, image_auroc, pixel_auroc
from trainer.evaluation.result import DefectResult, Evaluation, FaultedImage, mean

logger = logging.getLogger(__name__)


def evaluate(
    bundle_path: Path, data: Path, load: Callable[[Bundle], LoadedEngine] = load_engine, sha256: str | None = None
) -> Evaluation:
    """Score every labelled image and compare the verdicts with the labels.

    Args:
        bundle_path: the bundle.
        data: MVTec layout with ``test`` and, for the pixel metrics, ``ground_truth``.
        load: opens the engine.
        sha256: expected digest of the bundle's file; see :func:`edge_occ.bundle.bundle.read_bundle`.

    Raises:
        BundleRefused: the bundle is damaged or of an unknown format.
        EngineUnavailable: the engine cannot run here.
        ParityFailure: the engine does not reproduce the bundle's reference scores.
        InputError: there are no labelled images, more than 1 % of them are unreadable, good images are not in ``good``,
            images have another size than the training images, or masks belong to no image or are wrong; see
            :func:`trainer.evaluation.ground_truth.read_mask`.
    """
    begun = time.monotonic()
    bundle = read_bundle(bundle_path, sha256)
    white = bundle.manifest.training.white_level
    checked = check_labelled(find_labelled_images(data), bundle.manifest.geometry.frame, data / "test", white)
    loaded = load(bundle)
    engine, calibration = loaded.engine, bundle.manifest.calibration
    with closing(engine):
        scored = _score(checked.images, engine, bundle)
        cases = picture_cases(scored.records, engine, calibration, read_mask, white)
    scores = np.array([record.verdict.score for record in scored.records])
    defective = np.array([record.image.defective for record in scored.records])
    aupimos = aupimo(scored.masks, scored.maps)
    return Evaluation(
        bundle=bundle_path,
        data=data,
        records=tuple(scored.records),
        faulted=tuple(scored.faulted),
        skipped=checked.skipped,
        warnings=(*checked.warnings, *_faults_in_words(scored.faulted)),
        image_auroc=image_auroc(defective, scores),
        pixel_auroc=pixel_auroc(scored.masks, scored.maps),
        aupro=aupro(scored.masks, scored.maps),
        aupimos=tuple(aupimos.tolist()),
        f1_max=f1_max(defective, scores),
        per_defect=_per_defect(scored, aupimos),
        calibration=calibration,
        held_out=tuple(bundle.held_out.tolist()),
        engine=engine.name,
        precision=engine.precision,
        parity=loaded.parity,
        seconds=time.monotonic() - begun,
        cases=cases,
    )


@dataclass
class _Scored:
    """Verdicts of all images; masks, maps and kinds of those with a ground truth, including good images.

    The latter are empty if no defect has a mask.
    """

    records: list[ScoredImage] = field(default_factory=list)
    faulted: list[FaultedImage] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    masks: list[Mask] = field(default_factory=list)
    maps: list[ScoreMap] = field(default_factory=list)


def _score(images: Sequence[LabelledImage], engine: Engine, bundle: Bundle) -> _Scored:
    scored, judge = _Scored(), bundle.conformal_threshold()
    likeness = Likeness(bundle.manifest, partial(logger.warning, "%s"))
    with_masks = any(image.masks for image in images if image.defective)
    with ProgressReport("scoring", len(images)) as progress:
        for image in images:
            progress.advance()
            frame = read_image(image.path, bundle.manifest.training.white_level)
            likeness.look(frame)
            try:
                scores = engine.infer(frame)
            except NoPose as fault:
                scored.faulted.append(FaultedImage(image, fault))
                continue
            scored.records.append(ScoredImage(image, judge.verdict(scores.score)))
            if with_masks and has_pixels(image):
                scored.kinds.append(image.kind)
                scored.masks.append(read_mask(image, frame.shape))
                size = (frame.shape[1], frame.shape[0])
                resized = cv2.resize(scores.map, size, interpolation=cv2.INTER_LINEAR)
                scored.maps.append(np.asarray(resized, dtype=np.float32))
    return scored


def _faults_in_words(faulted: Sequence[FaultedImage]) -> tuple[str, ...]:
    """Return one sentence if any image is a fault."""
    if not faulted:
        return ()
    defective = sum(image.image.defective for image in faulted)
    kinds = Counter(image.fault.outcome.value for image in faulted)
    reasons = ", ".join(f"{count} {reason}" for reason, count in kinds.most_common())
    return (
        f"{len(faulted) - defective} good and {defective} defective images are faults, neither found nor false alarms, "
        f"and are in no AUROC: {reasons}",
    )


def _per_defect(scored: _Scored, aupimos: NDArray[np.float64]) -> dict[str, DefectResult]:
    results = {}
    defects_with_masks = [kind for kind in scored.kinds if kind != GOOD]
    faulted = Counter(faulted.image.kind for faulted in scored.faulted if faulted.image.defective)
    for kind in sorted({record.image.kind for record in scored.records if record.image.defective} | set(faulted)):
        records = [r for r in scored.records if r.image.kind == kind or not r.image.defective]
        defective = np.array([record.image.defective for record in records])
        chosen = [i for i, of in enumerate(scored.kinds) if of in (kind, GOOD)]
        results[kind] = DefectResult(
            images=int(defective.sum()) + faulted[kind],
            faulted=faulted[kind],
            detected=sum(record.image.defective and record.verdict.anomalous for record in records),
            image_auroc=image_auroc(defective, np.array([record.verdict.score for record in records])),
            pixel_auroc=pixel_auroc([scored.masks[i] for i in chosen], [scored.maps[i] for i in chosen]),
            aupimo=mean([value for of, value in zip(defects_with_masks, aupimos, strict=False) if of == kind]),
        )
    return results
