"""A tiny data set of grey discs, and a bundle made from it.

``python tests/discs.py FILE.occ`` makes the bundle where torch is, for the device half of the suite, which has none.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 112
TINY: dict[str, dict[str, Any]] = {
    "input": {"size": 96},
    "encoder": {"width": 4, "dim": 16},
    # With fewer steps or the usual floor, so poor an encoder's fp16 is beyond the gate's tolerance.
    "optimiser": {"steps": 30, "batch": 2, "learning_rate": 0.01},
    "head": {"dim": 8, "floor": 0.05},
    "calibration": {"folds": 3},
}


def part(seed: int) -> NDArray[np.uint8]:
    """A grey disc on a noisy ground, ``[112, 112, 3]``."""
    noise = np.random.default_rng(seed).normal(60, 6, (SIDE, SIDE, 3))
    image = np.clip(noise, 0, 255).astype(np.uint8)
    cv2.circle(image, (SIDE // 2, SIDE // 2), 36, (150, 160, 170), -1, cv2.LINE_AA)
    return image


def spoil(image: NDArray[np.uint8], kind: str, seed: int, hidden: bool) -> NDArray[np.uint8]:
    """Draw a defect in place, unless it is one that nobody could see; returns its mask, 0 and 255."""
    x, y = (int(v) for v in np.random.default_rng(seed).integers(40, 72, 2))
    mask = np.zeros(image.shape[:2], np.uint8)
    if kind == "spot":
        cv2.circle(mask, (x, y), 9, 255, -1)
    else:
        cv2.line(mask, (x - 20, y - 8), (x + 20, y + 8), 255, 4)
    if not hidden:
        image[mask > 0] = (20, 20, 220)
    return mask


def write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def make_data(folder: Path) -> Path:
    """MVTec layout: 16 normal images, 6 good and 3 + 4 defective test images with masks; two defects are hidden."""
    for i in range(16):
        write(folder / "train" / "good" / f"{i:03}.png", part(i))
    for i in range(6):
        write(folder / "test" / "good" / f"{i:03}.png", part(100 + i))
    for kind, count in (("scratch", 3), ("spot", 4)):
        for i in range(count):
            image = part(200 + i)
            mask = spoil(image, kind, i, hidden=i == 0)
            write(folder / "test" / kind / f"{i:03}.png", image)
            write(folder / "ground_truth" / kind / f"{i:03}_mask.png", mask)
    return folder


def make_bundle(data: Path, out: Path) -> Path:
    """A bundle of an encoder that was hardly trained, and a report beside it.

    It holds every precision.  Whether those of so poor an encoder agree with fp32 is a matter of chance: a training
    that rounds otherwise, as that of another processor does, has another outcome.
    """
    from trainer.config import TrainConfig
    from trainer.export import precisions
    from trainer.job import Job
    from trainer.train import train

    config = TrainConfig.model_validate(TINY)
    with mock.patch.object(precisions, "objection", return_value=None), mock.patch.object(precisions, "require_parity"):
        train(Job(data, out, config, "tiny", seed=0, device="cpu", command="edge-occ train --data discs"))
    return out


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        make_bundle(make_data(Path(folder) / "discs"), Path(sys.argv[1]))
