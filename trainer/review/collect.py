"""Held-out scores and maps of images, as they are stored next to a bundle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from trainer.calibration.fit_heads import HeadCalibrator, HeldOut
from trainer.graph.branches import Branch, ImageBranch
from trainer.heads.fused import FusedHead
from trainer.review.stored_features import MAP_SIDE, GoodImages, StoredFeatures, compact


def scores_as_taken(
    held_out: Sequence[HeldOut], calibrator: HeadCalibrator, head: FusedHead, images: int, tiles: int = 1
) -> NDArray[np.float64]:
    """Return the held-out score of each image as it was taken, ``[images]``: the highest of its tiles.

    Args:
        held_out: for each head, scores of all tiles of the images, then of their changed copies.
        calibrator: turns grids into scores.
        head: gives the weights of the heads.
        images: number of images.
        tiles: number of tiles of an image.
    """
    of_tiles = calibrator.scores([own.grid[: images * tiles] for own in held_out], head)
    return np.asarray(of_tiles.reshape(images, tiles).max(1), dtype=np.float64)


def stored_features(
    images: GoodImages,
    features: Sequence[Tensor],
    held_out: Sequence[HeldOut],
    calibrator: HeadCalibrator,
    branches: Sequence[Branch],
    head: FusedHead,
    region: NDArray[np.bool_] | None,
) -> StoredFeatures:
    """Return what is stored next to a bundle.

    Args:
        images: the ``n`` images.
        features: of the images and their changed copies, ``[m, rows, columns, d]`` for each branch.
        held_out: held-out scores of the same, for each head.
        calibrator: turns grids into scores and maps.
        branches: of the graph.
        head: gives the weights of the heads.
        region: pixels that were inspected, bool ``[height, width]``; None: all.
    """
    n = len(images.names)
    of_images = [own.grid[:n] for own in held_out]
    scores = scores_as_taken(held_out, calibrator, head, n)
    placed = not any(isinstance(branch, ImageBranch) for branch in branches)
    maps = _maps(of_images, calibrator, head) if placed else None
    return StoredFeatures(images, scores, tuple(compact(of.numpy()) for of in features), maps, region)


def _maps(grids: Sequence[Tensor], calibrator: HeadCalibrator, head: FusedHead) -> NDArray[np.float32]:
    """Return the fused maps with at most :data:`MAP_SIDE` rows and columns; no peak is lost."""
    small = []
    for maps in calibrator.maps(grids, head.map_weights):
        rows, columns = (min(side, MAP_SIDE) for side in maps.shape[1:])
        small.append(adaptive_max_pool2d(maps.unsqueeze(1), (rows, columns)).squeeze(1))
    return np.asarray(torch.cat(small).numpy(), dtype=np.float32)
