"""The whole of ``edge-occ train``: images in, bundle out."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import onnx
import torch
from torch import Tensor

from edge_occ import __version__
from edge_occ.bundle import MODEL_CARD, PREVIEW, write_bundle
from edge_occ.errors import InputError
from edge_occ.manifest import Calibration, Geometry, Manifest, Training
from trainer.assemble import Assembled, assemble
from trainer.config import TrainConfig
from trainer.data import NormalImages, find_normal_images, read_frames
from trainer.encoders import WINDOW, grid_size
from trainer.fit import Fit, fit_encoder
from trainer.graph import FeatureExtractor, InspectionGraph, Preprocess
from trainer.model_card import model_card
from trainer.report import training_report
from trainer.stage2 import Stage2

_LICENCES = "Code and graph: Apache-2.0 (edge-occ). Golden frames and preview: whoever owns the training images."
_LEVEL_IMAGES = 64


@dataclass(frozen=True)
class Job:
    """What to train, from what, to where.

    Attributes:
        data: MVTec layout or a folder of normal images.
        out: the bundle.
        preset: name of the preset, for the record.
        command: as typed, for the record.
        restart: discard an earlier run's checkpoint.
    """

    data: Path
    out: Path
    config: TrainConfig
    preset: str
    seed: int
    device: str
    command: str
    restart: bool = False

    @property
    def checkpoint(self) -> Path:
        """Where stage 1 keeps its state until the bundle is written."""
        return self.out.with_suffix(".train") / "checkpoint.safetensors"


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
    """
    begun = time.monotonic()
    device = choose_device(job.device)
    _check_writable(job.out)
    if job.restart:
        job.checkpoint.unlink(missing_ok=True)
    data = find_normal_images(job.data)
    _check_size(data, job.config)
    images = _stage1_images(data, job.config)
    fit = fit_encoder(images, job.config, job.seed, device, job.checkpoint, fingerprint(job, data))
    extractor = FeatureExtractor(fit.encoder.fuse(), job.config).to(device)
    extractor.level(images[:: max(1, len(images) // _LEVEL_IMAGES)].to(device))
    graph = InspectionGraph(extractor, job.config).to(device).eval()
    features = _features(extractor, data, device)
    stage2 = Stage2(graph.score_map, job.config, job.seed)
    fitted = stage2.fit(features)
    exported = assemble(graph.cpu(), fitted, data.paths, job.config.export, partial(stage2.held_out, features))
    manifest = _manifest(job, data, fit, fitted.calibration, exported, time.monotonic() - begun)
    members = {**exported.members, MODEL_CARD: model_card(manifest, exported.parity).encode()}
    written = write_bundle(job.out, manifest, members)
    report = training_report(job.out.with_suffix(".html"), written, fit.history, fitted.held_out, members[PREVIEW])
    job.checkpoint.unlink(missing_ok=True)
    if job.checkpoint.parent.exists() and not any(job.checkpoint.parent.iterdir()):
        job.checkpoint.parent.rmdir()
    return Trained(written, report)


def choose_device(name: str) -> torch.device:
    """``auto`` takes a GPU if there is one.

    Raises:
        InputError: unknown name, or ``cuda`` without a usable GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError("a device of auto, cpu, cuda", repr(name), "choose one with --device")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("a CUDA GPU that torch can use", f"none (torch {torch.__version__})", "use --device cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def fingerprint(job: Job, data: NormalImages) -> str:
    """What must be equal for a run to be resumed: the settings of stage 1, the seed, and the images."""
    stage1 = job.config.model_dump(include={"input", "encoder", "pretext", "optimiser"})
    stage1["optimiser"].pop("checkpoint_seconds")
    return hashlib.sha256(json.dumps([stage1, job.seed, data.sha256], sort_keys=True).encode()).hexdigest()


def _check_writable(out: Path) -> None:
    """Find out before the training, not after."""
    if out.suffix != ".occ":
        raise InputError("a bundle's name that ends in .occ", str(out), f"use --out {out.with_suffix('.occ')}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe = out.parent / f".{out.name}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"a folder to write {out} into", str(error.strerror), "choose another place with --out"
        ) from error


def _check_size(data: NormalImages, config: TrainConfig) -> None:
    rows, columns = grid_size(config.input.size, config.input.size, config.encoder.stride)
    values = len(data) * rows * columns * config.head.dim
    if values * 4 > 16 << 30:
        raise InputError(
            "features of all images to fit into 16 GB",
            f"{values * 4 / 1e9:.0f} GB from {len(data)} images",
            "use fewer images or --set encoder.stride=16",
        )


def _stage1_images(data: NormalImages, config: TrainConfig) -> Tensor:
    """All images as the graph resizes them, rounded: uint8 RGB ``[n, 3, size, size]``."""
    preprocess = Preprocess(config.input.size)
    with torch.inference_mode():
        resized = [preprocess.resize(f).round().clamp(0, 255).byte() for f in read_frames(data.paths, "reading")]
    return torch.cat(resized).clone()


def _features(extractor: FeatureExtractor, data: NormalImages, device: torch.device) -> Tensor:
    with torch.inference_mode():
        batches = [extractor(frames.to(device)).cpu() for frames in read_frames(data.paths, "extracting features")]
    return torch.cat(batches)


def _manifest(
    job: Job, data: NormalImages, fit: Fit, calibration: Calibration, exported: Assembled, seconds: float
) -> dict[str, object]:
    config = job.config
    size, stride = config.input.size, config.encoder.stride
    software = {"python": platform.python_version(), "torch": torch.__version__, "onnx": onnx.__version__}
    return {
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "edge_occ": __version__,
        "geometry": Geometry(
            size=size, window=WINDOW, stride=stride, grid=grid_size(size, size, stride), frame=data.frame
        ),
        "head": {**config.head.model_dump(), "samples_side": config.head.samples_side(len(data))},
        "calibration": calibration,
        "precisions": exported.precisions,
        "training": Training(
            command=job.command,
            preset=job.preset,
            seed=job.seed,
            steps=config.optimiser.steps,
            seconds=round(seconds, 1),
            images=len(data),
            skipped=data.skipped,
            conversions=data.conversions,
            data_sha256=data.sha256,
            software=software,
            config=config.model_dump(mode="json"),
        ),
        "parity_tolerance": exported.tolerances,
        "metrics": {"stage1_seconds": round(fit.seconds, 1), "stage1_loss": fit.history[-1][1]},
        "licences": _LICENCES,
    }
