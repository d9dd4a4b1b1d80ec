"""A cell of synthetic defects: good test images, clean, against the same images with something pasted in."""

from __future__ import annotations

import sys
import time
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.common.images import find_images
from edge_occ.common.progress import ProgressReport
from engines.base import Engine
from trainer.data.images import read_frames
from trainer.evaluation.metrics import image_auroc
from trainer.reproduce.mvtec import find, fingerprint, images, trained, training_seconds
from trainer.reproduce.procedure import Measured, Procedure, Task
from trainer.selection.synthetic_defects import GENERATORS, DefectGenerator


def measure(task: Task) -> Measured:
    """Image AUROC by generator, and their mean.

    The defects depend on the task's seed and on the images alone, so that all rows are measured on the same ones.
    """
    manifest = trained(task)
    begun = time.monotonic()
    good = tuple(find_images(task.data / "test" / "good"))
    # A defect's texture comes from its neighbour in the batch, so the batches do not depend on the size.
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
    """Uint8 BGR ``[n, h, w, 3]`` in and out; textures come from the neighbour in the batch."""
    images = frames.flip(-1).permute(0, 3, 1, 2).float() / 255
    pasted, _ = paste(images, images.roll(1, 0), generator)
    return (pasted.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).flip(-1).contiguous()


def _scores(engine: Engine, batches: list[Tensor]) -> NDArray[np.float64]:
    return np.array([engine.infer(frame).score for batch in batches for frame in batch.numpy()])


def _auroc(clean: NDArray[np.float64], pasted: NDArray[np.float64]) -> float | None:
    return image_auroc(np.repeat([False, True], [len(clean), len(pasted)]), np.concatenate([clean, pasted]))


SHAPES = Procedure("synthetic", 2, find, fingerprint, images, measure)
