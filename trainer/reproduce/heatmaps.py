"""A sheet of defects with their masks and heatmaps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.common.files import atomic_write
from edge_occ.common.images import read_image
from edge_occ.output.heatmap import encode_jpeg, overlay
from trainer.data.layout import LabelledImage
from trainer.evaluation.cases import ScoredImage
from trainer.evaluation.ground_truth import read_mask

_SIDE = 192
"""Side of each picture in pixels, so that a page of fifteen categories stays small."""

_GAP = 4


def heatmap_sheet(path: Path, bundle_path: Path, defects: Sequence[ScoredImage]) -> None:
    """Write a JPEG of the defects with the lowest, the median and the highest score: image, mask, heatmap.

    Without defects nothing is written; a missing mask is drawn grey.

    Raises:
        InputError: an image can no longer be read.
    """
    ranked = sorted(defects, key=lambda record: record.verdict.score)
    if not ranked:
        return
    bundle = read_bundle(bundle_path)
    calibration = bundle.manifest.calibration
    rows = []
    with closing(load_engine(bundle).engine) as engine:
        for index in dict.fromkeys((0, len(ranked) // 2, len(ranked) - 1)):
            image = ranked[index].image
            frame = read_image(image.path, bundle.manifest.training.white_level)
            small = _square(frame)
            mask = _mask(image, frame)
            heat = overlay(small, engine.infer(frame).map, calibration.median, calibration.threshold)
            rows.append(_join([small, _square(mask), heat], axis=1))
    with atomic_write(path) as file:
        file.write(encode_jpeg(_join(rows, axis=0)))


def _mask(image: LabelledImage, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not image.masks:
        return np.full_like(frame, 128)
    white = 255 * read_mask(image, frame.shape).astype(np.uint8)
    return np.repeat(white[:, :, None], 3, axis=2)


def _square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    shrinks = max(picture.shape[:2]) > _SIDE
    filter_ = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (_SIDE, _SIDE), interpolation=filter_), dtype=np.uint8)


def _join(pictures: Sequence[NDArray[np.uint8]], axis: int) -> NDArray[np.uint8]:
    shape = list(pictures[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, dtype=np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=axis)
