"""A cell on MVTec AD: train on the good images, evaluate once on the labelled ones."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.manifest import Manifest
from edge_occ.common.errors import BundleRefused, InputError
from edge_occ.common.images import find_images
from trainer.evaluation.evaluate import evaluate
from trainer.reproduce.cells import drop_damaged
from trainer.reproduce.heatmaps import heatmap_sheet
from trainer.reproduce.procedure import Measured, Procedure, Task
from trainer.train import Job, train

_METRICS = ("image_auroc", "pixel_auroc", "aupro", "aupimo", "f1_max")


def measure(task: Task) -> Measured:
    """Every metric of the bundle on the labelled images, and a picture of some heatmaps."""
    manifest = trained(task)
    evaluation = evaluate(task.bundle, task.data)
    content = evaluation.as_json()
    heatmap_sheet(task.picture, task.bundle, evaluation.defects)
    values = {name: content[name] for name in _METRICS}
    return Measured(values, manifest.training.steps, training_seconds(manifest) + evaluation.seconds)


def trained(task: Task) -> Manifest:
    """The bundle of a task, from an earlier run or trained now.

    Raises:
        UserError: the training failed.
        KeyboardInterrupt: interrupted; its checkpoint remains.
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
    """The folder of a category in MVTec's layout, with images to train on and to test on.

    Raises:
        InputError: there is a folder, but ``train/good`` or ``test/good`` is missing.
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
    """Of names and contents of all files to train and test on.

    Contents and not dates, because a fresh copy of the data has other dates and the same images; reading a category
    takes about a second.
    """
    whole = hashlib.sha256()
    for part in ("train/good", "test", "ground_truth"):
        for path in sorted((folder / part).rglob("*")):
            if path.is_file():
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                whole.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def images(folder: Path, _: str) -> int:
    """How many good ones there are to train on."""
    return len(find_images(folder / "train/good"))


def training_seconds(manifest: Manifest) -> float:
    """Of a training; after an interruption, stage 1 over all runs may be more than the last run in all."""
    return max(manifest.training.seconds, manifest.metrics.get("stage1_seconds", 0))


MVTEC = Procedure("mvtec", 1, find, fingerprint, images, measure)
