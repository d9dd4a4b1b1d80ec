"""The procedures on MVTec AD: train on the good images, then measure on the labelled ones or on synthetic defects."""

from __future__ import annotations

import hashlib
import shlex
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.manifest import Manifest
from edge_occ.bundle.pose import NoPose
from edge_occ.common.errors import BundleRefused, InputError
from edge_occ.common.images import find_images
from edge_occ.common.progress import ProgressReport
from engines.base import Engine
from trainer.data.images import read_frames
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.metrics import image_auroc
from trainer.job import Job
from trainer.reproduce.cells import drop_damaged
from trainer.reproduce.figures import figures
from trainer.reproduce.heatmaps import heatmap_sheet
from trainer.reproduce.table import CellTask, Measured, Procedure
from trainer.selection.synthetic_defects import GENERATORS, DefectGenerator
from trainer.train import train


def measure(task: CellTask) -> Measured:
    """Evaluate the bundle on the labelled images, and write a picture of some heatmaps."""
    manifest = trained(task)
    evaluation = evaluate(task.bundle, task.data)
    heatmap_sheet(task.picture, task.bundle, evaluation.defects)
    return Measured(figures(evaluation), manifest.training.steps, training_seconds(manifest) + evaluation.seconds)


def trained(task: CellTask) -> Manifest:
    """Return the manifest of a task's bundle, and train the bundle unless an earlier run did.

    Raises:
        UserError: the training failed.
        KeyboardInterrupt: interrupted; the checkpoint remains.
    """
    if task.bundle.exists():
        try:
            return read_bundle(task.bundle).manifest
        except BundleRefused as error:
            task.say(f"{task.bundle.name} is trained again: expected {error.expected}, found {error.found}")
    command = shlex.join(
        ["edge-occ", "train", "--data", task.category, "--preset", task.preset, "--seed", str(task.seed)]
    )
    job = Job(task.data, task.bundle, task.config, task.preset, task.seed, task.device, command, encoders=task.encoders)
    drop_damaged(task.encoders, task.say)
    job.checkpoints.mkdir(exist_ok=True)  # the cell has begun
    return train(job).manifest


def find(data: Path, category: str) -> Path | None:
    """Return the folder of a category in the MVTec layout, or ``None`` if it does not exist.

    Raises:
        InputError: the folder lacks ``train/good`` or ``test/good``.
    """
    folder = data / category
    if not folder.is_dir():
        return None
    for needed in ("train/good", "test/good"):
        if not (folder / needed).is_dir():
            raise InputError(
                f"{folder / needed}", "no such folder", "complete the category, or leave it out with --categories"
            )
    return folder


def fingerprint(folder: Path, _: str) -> str:
    """Return a hash of the names and contents of all training and test files.

    Dates do not count, because a fresh copy of the data has other dates and the same images.  Reading a category takes
    about a second.
    """
    whole = hashlib.sha256()
    for part in ("train/good", "test", "ground_truth"):
        for path in sorted((folder / part).rglob("*")):
            if path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                whole.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def images(folder: Path, _: str) -> int:
    """Return the number of good training images."""
    return len(find_images(folder / "train/good"))


def training_seconds(manifest: Manifest) -> float:
    """Return the duration of a training; after an interruption, that of pretraining over all runs if it is longer."""
    return max(manifest.training.seconds, manifest.metrics.get("stage1_seconds", 0))


def measure_synthetic(task: CellTask) -> Measured:
    """Measure the image AUROC of good test images against the same images with synthetic defects.

    There is a figure for each generator, and their mean.  The defects depend only on the seed and the images, so all
    rows are measured on the same ones.
    """
    manifest = trained(task)
    begun = time.monotonic()
    good = tuple(find_images(task.data / "test" / "good"))
    # A defect's texture comes from the next image in the batch, so the batches must not depend on the image size.
    frames = list(read_frames(good, "reading", white=manifest.training.white_level, pixels=sys.maxsize))
    bundle = read_bundle(task.bundle)
    engine = load_engine(bundle).engine
    with closing(engine), ProgressReport("synthetic defects", 1 + len(GENERATORS)) as progress:
        clean = _scores(engine, frames)
        progress.advance()
        values: dict[str, float | None] = {}
        for index, (name, paste) in enumerate(GENERATORS.items()):
            generator = Generator().manual_seed(task.seed * len(GENERATORS) + index)
            pasted = [_with_defects(batch, paste, generator) for batch in frames]
            values[name] = _auroc(clean, _scores(engine, pasted))
            progress.advance(name)
    known = [value for value in values.values() if value is not None]
    values["mean"] = float(np.mean(known)) if known else None
    seconds = training_seconds(manifest) + time.monotonic() - begun
    return Measured(values, manifest.training.steps, seconds)


def _with_defects(frames: Tensor, paste: DefectGenerator, generator: Generator) -> Tensor:
    """Add defects to uint8 BGR frames ``[n, h, w, 3]``; textures come from the next image in the batch."""
    images = frames.flip(-1).permute(0, 3, 1, 2).float() / 255
    pasted, _ = paste(images, images.roll(1, 0), generator)
    return (pasted.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).flip(-1).contiguous()


def _scores(engine: Engine, batches: list[Tensor]) -> NDArray[np.float64]:
    """Scores of all frames but those without a pose, which are faults."""
    scores = []
    for frame in (frame for batch in batches for frame in batch.numpy()):
        with suppress(NoPose):
            scores.append(engine.infer(frame).score)
    return np.array(scores)


def _auroc(clean: NDArray[np.float64], pasted: NDArray[np.float64]) -> float | None:
    return image_auroc(np.repeat([False, True], [len(clean), len(pasted)]), np.concatenate([clean, pasted]))


MVTEC = Procedure("mvtec", 2, find, fingerprint, images, measure)
SYNTHETIC = Procedure("synthetic", 2, find, fingerprint, images, measure_synthetic)
