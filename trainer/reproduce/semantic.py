"""The procedure of the two-stage paper's tables: a representation learned on one class, and one-class heads on it.

As in the paper's released code (``util/train.py``, ``eval_embed``), features are computed from images without
augmentation, before the projection head (``pool``, the paper's ``f``) and after it (``embed``); heads are fitted on at
most 20,000 of them; everything is evaluated once, after the last step.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edge_occ.common.progress import ProgressReport
from edge_occ.common.size import Size
from trainer.config import HeadConfig
from trainer.encoders.base import Encoder
from trainer.encoders.build import make_encoder
from trainer.evaluation.metrics import image_auroc
from trainer.heads.base import Unfit
from trainer.heads.build import fit_head
from trainer.heads.cam import l2_normalise
from trainer.pretext.projection import ProjectionHead
from trainer.pretext.rotation import rotation_scores
from trainer.pretrain.encoders import fingerprint
from trainer.pretrain.fit_encoder import fit_encoder
from trainer.pretrain.processes import choose_device
from trainer.protocols import DataSet
from trainer.reproduce.cells import drop_damaged
from trainer.reproduce.table import CellTask, Measured, Procedure

_MAX_FITTED = 20_000
_BATCH = 256
_SQUARE = (1, 1)
"""Shape of the protocols' images."""

HEADS: Mapping[str, HeadConfig] = {
    "ocsvm": HeadConfig(kind="ocsvm", scope=("shared",), references=_MAX_FITTED),
    "ocsvm-linear": HeadConfig(kind="ocsvm-linear", scope=("shared",), references=_MAX_FITTED),
    "kde": HeadConfig(kind="kde", scope=("shared",), references=_MAX_FITTED),
    "nearest": HeadConfig(kind="nearest", scope=("shared",), references=_MAX_FITTED),
    "gaussian": HeadConfig(scope=("shared",), l2=True, regulariser="ridge", ridge=1e-6, floor=0),
    "gaussian-shrunk": HeadConfig(scope=("shared",), l2=True, regulariser="ledoit-wolf", floor=0),
}
"""The heads of the released code, and a Gaussian with a shrunk covariance instead of scikit-learn's ridge of 1e-6."""


def semantic(data_set: DataSet) -> Procedure:
    """Return the procedure on a data set."""
    return Procedure(
        f"semantic-{data_set.name}",
        1,
        partial(_find, data_set),
        data_set.fingerprint,
        lambda folder, category: len(data_set.load(folder, category).train),
        partial(measure, data_set),
    )


def measure(data_set: DataSet, task: CellTask) -> Measured:
    """Measure the image AUROC of every head, named ``kde.pool``, ``kde.embed`` and so on.

    A rotation classifier's own score is ``classifier.pool``.  The figure is ``None`` where a head cannot be fitted,
    which is reported.
    """
    task.bundle.with_suffix(".train").mkdir(exist_ok=True)  # the cell has begun
    experiment = data_set.load(task.data, task.category)
    device, size = choose_device(task.device), task.config.resized(_SQUARE)
    train, test = (_resized(torch.from_numpy(images), size) for images in (experiment.train, experiment.test))
    content = data_set.fingerprint(task.data, task.category)
    learned = _learn(train, task, content, device)
    begun = time.monotonic()
    features = _features(learned, train[_chosen(len(train))], device), _features(learned, test, device)
    values: dict[str, float | None] = {}
    with ProgressReport("fitting heads", len(HEADS)) as progress:
        for name, config in HEADS.items():
            for place in features[0]:
                scores = _scores(config, features[0][place], features[1][place])
                if isinstance(scores, Unfit):
                    task.say(f"{task.category}, seed {task.seed}: no {name} {place}, {scores}")
                    values[f"{name}.{place}"] = None
                else:
                    values[f"{name}.{place}"] = image_auroc(experiment.anomalous, scores)
            progress.advance(name)
    if task.config.pretext.name == "rotation" and learned.projection is not None:
        found = rotation_scores(learned.encoder, learned.projection, test.to(device))
        values["classifier.pool"] = image_auroc(experiment.anomalous, found.product.numpy())
    task.bundle.with_suffix(".train").rmdir()
    return Measured(values, learned.updates, learned.seconds + time.monotonic() - begun)


@dataclass(frozen=True)
class _Learned:
    """An encoder in evaluation mode on the device, its projection head, and the updates and seconds of its training."""

    encoder: Encoder
    projection: ProjectionHead | None = None
    updates: int = 0
    seconds: float = 0.0


def _learn(images: Tensor, task: CellTask, content: str, device: torch.device) -> _Learned:
    branch, size = task.config.branches[0], task.config.resized(_SQUARE)
    torch.manual_seed(task.seed)
    encoder = make_encoder(branch.encoder, size)
    if branch.pretext.name == "none":
        return _Learned(encoder.eval().to(device))
    run = fingerprint(branch, size, task.seed, content)
    drop_damaged(task.encoders, task.say)
    fit = fit_encoder(images, encoder, branch, task.seed, device, task.encoders / f"{run}.safetensors", run)
    return _Learned(encoder, fit.projection, branch.optimiser.steps, fit.seconds)


@torch.inference_mode()
def _features(learned: _Learned, images: Tensor, device: torch.device) -> dict[str, Tensor]:
    """Compute features ``[n, 1, 1, d]`` of uint8 images ``[n, 3, h, w]`` before and after the projection head."""
    found: dict[str, list[Tensor]] = {}
    with ProgressReport("extracting features", len(images)) as progress:
        for chunk in torch.split(images, _BATCH):
            maps = learned.encoder(learned.encoder.normalise(chunk.to(device).float()))
            found.setdefault("pool", []).append(maps.mean((2, 3)).cpu())
            if learned.projection is not None:
                found.setdefault("embed", []).append(learned.projection.embed(maps).cpu())
            progress.advance(steps=len(chunk))
    return {place: torch.cat(parts)[:, None, None] for place, parts in found.items()}


def _scores(config: HeadConfig, normal: Tensor, others: Tensor) -> NDArray[np.float64] | Unfit:
    if config.l2:
        normal, others = l2_normalise(normal), l2_normalise(others)
    try:
        head = fit_head(normal, config, "shared")
    except Unfit as error:
        return error
    scores: NDArray[np.float64] = head.score_many(others)[:, 0, 0].double().numpy()
    return scores


def _chosen(count: int) -> Tensor:
    """Return the indices of the images that heads are fitted on: all, or a fixed random sample."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:_MAX_FITTED].sort().values


def _resized(images: Tensor, size: Size) -> Tensor:
    """Resize uint8 images ``[n, 3, s, s]`` to ``[n, 3, *size]``, for encoders of larger images."""
    if images.shape[2:] == size:
        return images
    chunks = [
        functional.interpolate(chunk.float(), size, mode="bilinear", antialias=True).round().byte()
        for chunk in torch.split(images, _BATCH)
    ]
    return torch.cat(chunks)


def _find(data_set: DataSet, data: Path, category: str) -> Path | None:
    return data_set.find(data) if category in data_set.available(data) else None
