"""Pretraining of all encoders: built, trained on their self-supervised tasks, and prepared for export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edge_occ.common.errors import InputError
from edge_occ.common.size import Size
from trainer.config import BranchConfig, SelectionConfig, TrainConfig
from trainer.data.images import NormalImages, read_frames
from trainer.encoders.base import Encoder
from trainer.encoders.build import make_encoder
from trainer.graph.alignment import alignment
from trainer.graph.branches import Branch, make_branch
from trainer.graph.preprocess import Preprocess
from trainer.pretrain.fit_encoder import Fit, fit_encoder

_LEVEL_IMAGES = 64
"""Number of images by which features are scaled to equal variance."""

MAX_FEATURE_BYTES = 16 << 30
"""Maximum size of the features of all images in memory."""


@dataclass(frozen=True)
class PretrainedEncoders:
    """The encoders of all branches, trained where a task is set.

    Attributes:
        size: height and width of the images in pixels.
        config: the settings, without further branches that are not needed.
        images: normal images, or tiles, as the graph resizes them, uint8 RGB ``[n, 3, height, width]``, on the CPU.
        branches: on the device, in evaluation mode, with fused encoders.
        fits: record of each encoder's training; ``None`` without training.
    """

    size: Size
    config: TrainConfig
    images: Tensor
    branches: tuple[Branch, ...]
    fits: tuple[Fit | None, ...]

    @property
    def trained(self) -> list[tuple[str, Fit]]:
        """Task and record of each encoder that was trained."""
        fits = zip(self.config.branches, self.fits, strict=True)
        return [(branch.pretext.name, fit) for branch, fit in fits if fit is not None]


def pretrain_encoders(
    data: NormalImages, config: TrainConfig, seed: int, device: torch.device, checkpoint: Callable[[int, str], Path]
) -> PretrainedEncoders:
    """Train every branch's encoder, or resume from the checkpoints.

    Args:
        data: normal images.
        config: all settings.
        seed: of the first model of an ensemble; the others have the next ones.
        device: device to train on.
        checkpoint: from a branch's index and :func:`fingerprint` to its checkpoint file, which is kept after training.

    Raises:
        InputError: an encoder has too few features, the features of all images do not fit into memory, weights cannot
            be read, a checkpoint is of another run, or a training has collapsed.
        KeyboardInterrupt: interrupted; the checkpoint is written.
    """
    size = config.resized(data.viewed)
    # Settings of later branches and the memory are checked before the first branch is trained.
    untrained = [_branch(make_encoder(branch.encoder, size), branch, size) for branch in config.branches]
    _check_size(untrained, len(data.shots))
    images = resized(data, size)
    sample = images[:: max(1, len(images) // _LEVEL_IMAGES)].to(device)
    models = len(config.branches) // config.ensemble
    seeds = [seed + i // models for i in range(len(config.branches))]
    branches: list[Branch] = []
    fits: list[Fit | None] = []
    for i, (branch, own_seed) in enumerate(zip(config.branches, seeds, strict=True)):
        if i == 1 and _first_is_enough(branches[0], sample, config.selection):
            config = config.model_copy(update={"further_branches": ()})
            break
        torch.manual_seed(own_seed)
        encoder = make_encoder(branch.encoder, size)
        built = _branch(encoder, branch, size)
        fit = None
        if branch.pretext.name != "none":
            run = fingerprint(branch, size, own_seed, _content(data))
            fit = fit_encoder(images, encoder, branch, own_seed, device, checkpoint(i, run), run)
        encoder.eval().to(device).fuse()
        built.to(device).eval()
        built.extractor.level(sample)
        branches.append(built)
        fits.append(fit)
    return PretrainedEncoders(size, config, images, tuple(branches), tuple(fits))


def _check_size(branches: Sequence[Branch], images: int) -> None:
    """Check that the features of all images, which fitting needs, fit into memory."""
    positions = [
        (rows * columns, branch.extractor.projection.shape[1])
        for branch in branches
        for rows, columns in [branch.geometry[2]]
    ]
    size = 4 * images * sum(count * dim for count, dim in positions)
    if size > MAX_FEATURE_BYTES:
        raise InputError(
            f"features of all images to fit into {MAX_FEATURE_BYTES / 1e9:.0f} GB",
            f"{size / 1e9:.0f} GB from {images} images",
            "use fewer images or --set encoder.stride=16",
        )


def _first_is_enough(first: Branch, sample: Tensor, config: SelectionConfig) -> bool:
    """Return whether the further branches are not needed: parts are aligned, and only unaligned ones need them."""
    if not config.enabled or config.train_further == "always":
        return False
    with torch.inference_mode():
        features = torch.cat([first.features(chunk.float()) for chunk in torch.split(sample, 16)])
    return alignment(features) >= config.aligned


def _content(data: NormalImages) -> str:
    """Return a hash of the images, with their pose, tiles or crop, if they have them."""
    pose = "" if data.pose is None else data.pose.model_dump_json()
    return data.sha256 + pose + "".join(str(of) for of in (data.tiles, data.crop) if of is not None)


def fingerprint(config: BranchConfig, size: Size, seed: int, content: str) -> str:
    """Return a hash of all that must be equal to resume a run: settings of pretraining, size, seed, and ``content``, a
    hash of the images.
    """
    settings = config.model_dump(include={"encoder", "pretext", "views", "optimiser"})
    settings["optimiser"].pop("checkpoint_seconds")
    return hashlib.sha256(json.dumps([settings, size, seed, content], sort_keys=True).encode()).hexdigest()


def resized(data: NormalImages, size: Size, title: str = "reading") -> Tensor:
    """Return all images, or their tiles, prepared, then resized as by the graph, rounded: uint8 RGB ``[n, 3, height,
    width]``.
    """
    preprocess = Preprocess(size)
    with torch.inference_mode():
        batches = read_frames(data.paths, title, stage=data.stage(size), white=data.traits.white)
        chunks = [preprocess(frames).round().clamp(0, 255).byte() for frames in batches]
    return torch.cat(chunks).clone()


def _branch(encoder: Encoder, config: BranchConfig, size: Size) -> Branch:
    try:
        return make_branch(encoder, config, size)
    except ValueError as error:
        raise InputError("settings that fit each other", str(error), "change one of them with --set") from error
