"""Features of the normal images, and of their copies as cameras and lamps change them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from edge_occ.common.size import Size
from trainer.augment.camera import change_frame
from trainer.config import CameraChangesConfig
from trainer.data.images import Change, NormalImages, read_frames
from trainer.graph.branches import Branch
from trainer.graph.preprocess import Preprocess


def extract_features(
    branches: Sequence[Branch],
    data: NormalImages,
    size: Size,
    device: torch.device,
    title: str = "extracting features",
    change: Change | None = None,
) -> list[Tensor]:
    """Return the features of all images, or of their tiles, for each branch: ``[n, rows, columns, d]``, on the CPU.

    Args:
        branches: on ``device``.
        data: the images.
        size: height and width that the graph resizes to.
        device: where to compute.
        title: of the progress report.
        change: makes another image of the same size of each one; None: they stay as they are.
    """
    preprocess = Preprocess(size)
    collected: list[list[Tensor]] = [[] for _ in branches]
    with torch.inference_mode():
        stage, white = data.stage(size), data.traits.white
        for frames in read_frames(data.paths, title, stage=stage, white=white, change=change):
            images = preprocess(frames.to(device))
            for branch, batches in zip(branches, collected, strict=True):
                batches.append(branch.features(images).cpu())
    return [torch.cat(batches) for batches in collected]


def with_copies(
    features: Sequence[Tensor],
    branches: Sequence[Branch],
    data: NormalImages,
    size: Size,
    config: CameraChangesConfig,
    seed: int,
    device: torch.device,
) -> list[Tensor]:
    """Return the features of all images, then of their first changed copies, then of the second ones, and so on.

    Args:
        features: of the images as they are, for each branch.
        branches: on ``device``.
        data: the images.
        size: height and width that the graph resizes to.
        config: ranges of the changes.
        seed: of the changes.
        device: where to compute.
    """
    blocks = [features]
    for copy in range(config.copies):
        change = partial(change_frame, config=config, seed=seed, copy=copy)
        title = f"features of changed copies, {copy + 1} of {config.copies}"
        blocks.append(extract_features(branches, data, size, device, title, change))
    return [torch.cat(of_branch) for of_branch in zip(*blocks, strict=True)]
