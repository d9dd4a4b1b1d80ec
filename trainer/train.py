"""A whole training: from normal images to a bundle and a report."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from edge_occ.bundle.bundle import MODEL_CARD, PREVIEW, write_bundle
from edge_occ.bundle.manifest import Manifest
from edge_occ.bundle.tiles import Tiling
from edge_occ.common.errors import InputError
from edge_occ.common.size import Size, size_in_words
from trainer.augment.camera import change_frame
from trainer.calibration.fit_heads import HeadCalibrator
from trainer.config import TrainConfig
from trainer.data.images import Change, NormalImages, find_normal_images, read_frames
from trainer.export.assemble import assemble
from trainer.export.manifest import Facts, manifest_fields
from trainer.graph.branches import Branch, PatchBranch
from trainer.graph.inspection import InspectionGraph
from trainer.graph.preprocess import Preprocess
from trainer.own_files import (
    check_writable,
    foreign,
    remove_own,
    require_outside,
    require_own_bundle,
    require_own_page,
)
from trainer.pretrain import processes
from trainer.pretrain.encoders import pretrain_encoders
from trainer.pretrain.processes import choose_device
from trainer.report.model_card import model_card
from trainer.report.training import training_report
from trainer.selection.model_selection import select_model
from trainer.selection.proxy_benchmark import make_defects

CHECKPOINTS = re.compile(r"\.?checkpoint(-\d+)?\.safetensors(\..+\.part)?")
"""Names of a training's checkpoints, including those that a power cut left incomplete."""


@dataclass(frozen=True)
class Job:
    """A training to run.

    Attributes:
        data: MVTec layout or a folder of normal images.
        out: file of the bundle, ``.occ``.
        config: all settings.
        preset: name of the preset, for the manifest.
        seed: of everything random.
        device: ``auto``, ``cpu`` or ``cuda``.
        command: as typed, for the manifest.
        restart: whether to discard the checkpoints of an earlier run.
        encoders: folder in which trained encoders are kept, for other trainings with equal pretraining; ``None``: the
            checkpoints are removed when the bundle is written.
    """

    data: Path
    out: Path
    config: TrainConfig
    preset: str
    seed: int
    device: str
    command: str
    restart: bool = False
    encoders: Path | None = None

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, which exists until the bundle is written."""
        return self.out.with_suffix(".train")

    @property
    def report(self) -> Path:
        """File of the page about the training."""
        return self.out.with_suffix(".html")

    def checkpoint(self, branch: int, fingerprint: str) -> Path:
        """Return the checkpoint file of a branch's encoder."""
        if self.encoders is not None:
            return self.encoders / f"{fingerprint}.safetensors"
        return self.checkpoints / ("checkpoint.safetensors" if branch == 0 else f"checkpoint-{branch}.safetensors")


@dataclass(frozen=True)
class Trained:
    """The result of a training: the bundle's manifest, and the file of the page."""

    manifest: Manifest
    report: Path


def train(job: Job) -> Trained:
    """Pretrain the encoders, fit and calibrate the heads, export, pass the parity gate, write bundle and report.

    Raises:
        InputError: data, settings, a checkpoint or the place of the output are wrong.
        ParityFailure: the exported graph does not compute what torch computes.
        KeyboardInterrupt: interrupted; the same command continues from the checkpoint.
        SystemExit: pretraining is done and this is not the first process of ``torchrun``, which alone continues.
    """
    begun = time.monotonic()
    device = choose_device(job.device)
    with processes.joined(device):
        first = processes.rank() == 0
        if first:
            _check_places(job)
            if job.restart:
                remove_own(job.checkpoints, CHECKPOINTS)
        processes.wait()
        data = find_normal_images(job.data)
        if first:
            _check_input(data, job.config)
        pretrained = pretrain_encoders(data, job.config, job.seed, device, job.checkpoint)
    if not first:
        sys.exit(0)
    size = pretrained.size
    tiling = pretrained.config.input.tiling(size)
    # A tile is one more shot of its image's part: tiles of a part share a fold, and its score is their highest.
    parts = data.parts if tiling is None else tuple(part for part in data.parts for _ in range(tiling.count))
    features = _features(pretrained.branches, data, size, tiling, device)
    config, branches, record, grids = pretrained.config, pretrained.branches, None, None
    if config.selection.enabled:
        patches = [branch for branch in branches if isinstance(branch, PatchBranch)]
        defects = make_defects(pretrained.images, config.selection.images, job.seed)
        selected = select_model(patches, features, defects, config, job.seed, parts)
        config, record, grids = selected.config, selected.record, selected.grids
        branches = tuple(branches[i] for i in selected.kept)
        features = [features[i] for i in selected.kept]
    changes = config.camera_changes
    if changes.copies:
        # Heads selected on the images as they are have to be scored again together with the copies.
        grids = None
        features = _with_copies(features, branches, data, size, config, job.seed, device)
    calibrator = HeadCalibrator(branches, config, job.seed, parts)
    fitted = calibrator.fit(features, grids)
    heads = [branch.head.kinds for branch in config.branches]
    graph = InspectionGraph(branches, heads, size).cpu().eval()
    held_out = partial(calibrator.held_out, features, head=fitted.head)
    exported = assemble(graph, fitted, data.paths, job.config.export, held_out, data.traits.white, tiling)
    seconds = time.monotonic() - begun
    facts = Facts(job.command, job.preset, job.seed, size, config, data, branches, pretrained.fits, record, seconds)
    manifest = manifest_fields(facts, fitted.calibration, exported)
    members = {**exported.members, MODEL_CARD: model_card(manifest, exported.parity).encode()}
    written = write_bundle(job.out, manifest, members)
    trained = zip(pretrained.config.branches, pretrained.fits, strict=True)
    fits = [(branch.pretext.name, fit) for branch, fit in trained if fit is not None]
    report = training_report(job.report, written, fits, fitted.held_out, members[PREVIEW])
    remove_own(job.checkpoints, CHECKPOINTS)
    return Trained(written, report)


def _check_places(job: Job) -> None:
    """Check before the training that its files can be written and replace no file of another program."""
    out = job.out
    if out.suffix != ".occ":
        raise InputError("a bundle's name that ends in .occ", str(out), f"use --out {out.with_suffix('.occ')}")
    for place in (out, job.report, job.checkpoints):
        require_outside(place, job.data, "--out")
    require_own_bundle(out)
    require_own_page(job.report, "--out")
    other = foreign(job.checkpoints, CHECKPOINTS)
    if other is not None:
        raise InputError(
            f"no folder or an earlier training's checkpoints at {job.checkpoints}",
            f"{other}, which edge-occ did not write",
            "choose another place with --out",
        )
    check_writable(out.parent, "--out")


def _check_input(data: NormalImages, config: TrainConfig) -> None:
    """Check that tiles fit the images, and log warnings about these.

    Raises:
        InputError: the images are too small for the tiles, or differ in size.
    """
    size = config.resized(data.traits.usual)
    tiling = config.input.tiling(size)
    if tiling is None:
        data.traits.log(size)
        return
    if data.frame is None:
        raise InputError(
            "training images of one size for input.tiles", "different sizes", "resize them, or leave input.tiles out"
        )
    whole = tiling.map_size
    if any(side > pixels for side, pixels in zip(whole, data.frame, strict=True)):
        raise InputError(
            f"images of at least {size_in_words(whole)} pixels for {tiling.columns} x {tiling.rows} tiles of "
            f"{size_in_words(size)}",
            f"{size_in_words(data.frame)}",
            "use fewer tiles, or a smaller input.size",
        )
    data.traits.log(whole)


def _features(
    branches: Sequence[Branch],
    data: NormalImages,
    size: Size,
    tiling: Tiling | None,
    device: torch.device,
    title: str = "extracting features",
    change: Change | None = None,
) -> list[Tensor]:
    """Features of all images, changed if so asked, for each branch: ``[n, rows, columns, d]``, on the CPU."""
    preprocess = Preprocess(size)
    collected: list[list[Tensor]] = [[] for _ in branches]
    with torch.inference_mode():
        white = data.traits.white
        for frames in read_frames(data.paths, title, size=size, tiling=tiling, white=white, change=change):
            images = preprocess(frames.to(device))
            for branch, batches in zip(branches, collected, strict=True):
                batches.append(branch.features(images).cpu())
    return [torch.cat(batches) for batches in collected]


def _with_copies(
    features: Sequence[Tensor],
    branches: Sequence[Branch],
    data: NormalImages,
    size: Size,
    config: TrainConfig,
    seed: int,
    device: torch.device,
) -> list[Tensor]:
    """Features of all images, then of their first changed copies, then of the second ones, and so on."""
    changes = config.camera_changes
    blocks = [features]
    for copy in range(changes.copies):
        change = partial(change_frame, config=changes, seed=seed, copy=copy)
        title = f"features of changed copies, {copy + 1} of {changes.copies}"
        blocks.append(_features(branches, data, size, config.input.tiling(size), device, title, change))
    return [torch.cat(of_branch) for of_branch in zip(*blocks, strict=True)]
