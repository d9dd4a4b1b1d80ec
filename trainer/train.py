"""The whole of ``edge-occ train``: images in, bundle out."""

from __future__ import annotations

import platform
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor

from edge_occ import __version__
from edge_occ.bundle.bundle import MODEL_CARD, PREVIEW, write_bundle
from edge_occ.bundle.downscale import HALVING
from edge_occ.bundle.manifest import Calibration, Geometry, Manifest, Training
from edge_occ.common.errors import InputError
from trainer.augment.camera import change_frame
from trainer.calibration.fit_heads import HeadCalibrator
from trainer.config import BranchConfig, TrainConfig
from trainer.data.images import Change, NormalImages, find_normal_images, read_frames
from trainer.data.names import printable
from trainer.export.assemble import Assembled, assemble
from trainer.graph.branches import Branch, PatchBranch
from trainer.graph.inspection import InspectionGraph, exact_branch
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
from trainer.pretrain.fit_encoder import Fit
from trainer.pretrain.processes import choose_device
from trainer.report.model_card import model_card
from trainer.report.training import training_report
from trainer.selection.model_selection import Choice, choose
from trainer.selection.proxy_benchmark import make_defects

CHECKPOINTS = re.compile(r"\.?checkpoint(-\d+)?\.safetensors(\..+\.part)?")
"""Names of a training's checkpoints, and of those that a power cut left half-written."""

_LICENCES = "Code and graph: Apache-2.0 (edge-occ). Golden frames and preview: whoever owns the training images."


@dataclass(frozen=True)
class Job:
    """What to train, from what, to where.

    Attributes:
        data: MVTec layout or a folder of normal images.
        out: the bundle.
        preset: name of the preset, for the record.
        command: as typed, for the record.
        restart: discard an earlier run's checkpoint.
        encoders: folder in which trained encoders stay, for other trainings with the same stage 1; none: their
            checkpoints go when the bundle is written.
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
        """Folder that is there from the beginning of the training until the bundle is written."""
        return self.out.with_suffix(".train")

    @property
    def report(self) -> Path:
        """The page about the training."""
        return self.out.with_suffix(".html")

    def checkpoint(self, branch: int, fingerprint: str) -> Path:
        """File of the state of a branch's stage 1."""
        if self.encoders is not None:
            return self.encoders / f"{fingerprint}.safetensors"
        return self.checkpoints / ("checkpoint.safetensors" if branch == 0 else f"checkpoint-{branch}.safetensors")


@dataclass(frozen=True)
class Trained:
    """What came of it."""

    manifest: Manifest
    report: Path


def train(job: Job) -> Trained:
    """Run stage 1 and 2, calibrate, export, pass the parity gate, write bundle and report.

    Raises:
        InputError: data, settings, checkpoint or output place are wrong.
        ParityFailure: the exported graph does not compute what torch computes.
        KeyboardInterrupt: interrupted; the same command goes on from the checkpoint.
        SystemExit: of every process of ``torchrun`` but the first, which does the rest, when stage 1 is done.
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
            data.traits.tell(job.config.input.size)
        represented = pretrain_encoders(data, job.config, job.seed, device, job.checkpoint)
    if not first:
        sys.exit(0)
    features = _features(represented.branches, data, job.config.input.size, device)
    config, branches, chosen, grids = represented.config, represented.branches, None, None
    if config.choice.enabled:
        patches = [branch for branch in branches if isinstance(branch, PatchBranch)]
        defects = make_defects(represented.images, config.choice.images, job.seed)
        chosen = choose(patches, features, defects, config, job.seed, data.parts)
        config, branches, grids = chosen.config, tuple(branches[i] for i in chosen.kept), chosen.grids
        features = [features[i] for i in chosen.kept]
    changes = config.camera_changes
    if changes.copies:
        # Heads chosen on the images as they are have to be scored again together with the copies.
        grids = None
        features = _with_copies(features, branches, data, config, job.seed, device)
    calibrator = HeadCalibrator(branches, config, job.seed, data.parts)
    fitted = calibrator.fit(features, grids)
    heads = [branch.head.kinds for branch in config.branches]
    graph = InspectionGraph(branches, heads, config.input.size).cpu().eval()
    held_out = partial(calibrator.held_out, features, head=fitted.head)
    exported = assemble(graph, fitted, data.paths, job.config.export, held_out, data.traits.white)
    facts = _Facts(job, config, data, branches, represented.fits, chosen, time.monotonic() - begun)
    manifest = _manifest(facts, fitted.calibration, exported)
    members = {**exported.members, MODEL_CARD: model_card(manifest, exported.parity).encode()}
    written = write_bundle(job.out, manifest, members)
    fitted_tasks = zip(represented.config.branches, represented.fits, strict=True)
    fits = [(branch.pretext.name, fit) for branch, fit in fitted_tasks if fit is not None]
    report = training_report(job.report, written, fits, fitted.held_out, members[PREVIEW])
    remove_own(job.checkpoints, CHECKPOINTS)
    return Trained(written, report)


def _check_places(job: Job) -> None:
    """Find out before the training, not after, whether its files can be written and hide nothing of anybody else."""
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


def _features(
    branches: Sequence[Branch],
    data: NormalImages,
    size: int,
    device: torch.device,
    title: str = "extracting features",
    change: Change | None = None,
) -> list[Tensor]:
    """Features of all images, changed if so asked, for each branch: ``[n, rows, columns, d]``, on the CPU."""
    preprocess = Preprocess(size)
    collected: list[list[Tensor]] = [[] for _ in branches]
    with torch.inference_mode():
        for frames in read_frames(data.paths, title, size=size, white=data.traits.white, change=change):
            images = preprocess(frames.to(device))
            for branch, batches in zip(branches, collected, strict=True):
                batches.append(branch.features(images).cpu())
    return [torch.cat(batches) for batches in collected]


def _with_copies(
    features: Sequence[Tensor],
    branches: Sequence[Branch],
    data: NormalImages,
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
        blocks.append(_features(branches, data, config.input.size, device, title, change))
    return [torch.cat(of_branch) for of_branch in zip(*blocks, strict=True)]


@dataclass(frozen=True)
class _Facts:
    """What a manifest tells of a run; ``config`` is what was taken, ``job.config`` what was asked for."""

    job: Job
    config: TrainConfig
    data: NormalImages
    branches: Sequence[Branch]
    fits: Sequence[Fit | None]
    choice: Choice | None
    seconds: float


def _manifest(facts: _Facts, calibration: Calibration, exported: Assembled) -> dict[str, object]:
    job, config, data = facts.job, facts.config, facts.data
    fits = [fit for fit in facts.fits if fit is not None]
    exact = exact_branch(facts.branches)
    window, stride, grid = facts.branches[exact or 0].geometry
    software = {"python": platform.python_version(), "torch": torch.__version__, "onnx": onnx.__version__}
    return {
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "edge_occ": __version__,
        "geometry": Geometry(
            size=config.input.size,
            branch=exact or 0,
            exact=exact is not None,
            window=window,
            stride=stride,
            grid=grid,
            downscaling=HALVING,
            frame=data.frame,
        ),
        "head": {
            **config.head.model_dump(),
            "samples_side": config.head.samples_side(len(data)),
            "branches": [_branch(*pair) for pair in zip(config.branches, facts.branches, strict=True)],
        },
        "calibration": calibration,
        "precisions": exported.precisions,
        "training": Training(
            command=printable(job.command),
            preset=printable(job.preset),
            seed=job.seed,
            steps=sum(fit.history[-1][0] for fit in fits),
            seconds=round(facts.seconds, 1),
            images=len(data),
            parts=len(set(data.parts)),
            copies=data.copies,
            look_alike=data.look_alike,
            skipped=data.skipped,
            conversions=data.conversions,
            colour=data.traits.colour,
            white=data.traits.white,
            exposure=data.traits.exposure,
            data_sha256=data.sha256,
            software=software,
            config=_printable(config.model_dump(mode="json")),
        ),
        "parity_tolerance": exported.tolerances,
        "choice": None if facts.choice is None else facts.choice.record,
        "metrics": _stage1_metrics(fits),
        "licences": _LICENCES,
    }


def _printable(settings: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Settings with the names of files as text."""
    match settings:
        case str():
            return printable(settings)
        case dict():
            return {name: _printable(value) for name, value in settings.items()}
        case list():
            return [_printable(value) for value in settings]
    return settings


def _stage1_metrics(fits: Sequence[Fit]) -> dict[str, float]:
    """Time of all encoders that were trained, and the last loss of the first; nothing where none was."""
    if not fits:
        return {}
    return {"stage1_seconds": round(sum(fit.seconds for fit in fits), 1), "stage1_loss": fits[0].history[-1][1]}


def _branch(config: BranchConfig, branch: Branch) -> dict[str, object]:
    """What people want to know of a branch."""
    window, stride, grid = branch.geometry
    return {
        "encoder": config.encoder.name,
        "window": window,
        "stride": stride,
        "grid": grid,
        **config.head.model_dump(include={"kind", "scope", "beside", "dim", "regulariser"}),
        "image_score": config.map.image_score,
    }
