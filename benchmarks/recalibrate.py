"""Gain of a recalibration after a change of the light: ``python benchmarks/recalibrate.py WORK DATA
[CHANGE...]``.

DATA has MVTec's layout.  A bundle is trained on every second good training image, in the folder WORK.  The others are
changed, and recalibrate it.  Good test images and defects are changed in the same way and scored before and after.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.common.console import say
from edge_occ.common.images import find_images, read_image
from edge_occ.runtime.recalibrate import RecalibrationJob

Image = NDArray[np.uint8]


def darker(image: Image) -> Image:
    return np.asarray(np.clip(image * 0.9, 0, 255).round(), dtype=np.uint8)


def blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7), dtype=np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "none": lambda image: image,
    "10 % darker": darker,
    "blurred, sigma 0.7 pixels": blurred,
    "both": lambda image: blurred(darker(image)),
}


def above(bundle: Path, images: Sequence[Image]) -> str:
    """Number of images above the bundle's threshold."""
    opened = read_bundle(bundle)
    with closing(load_engine(opened, "cpu").engine) as engine:
        scores = [engine.infer(image).score for image in images]
    return f"{sum(score > opened.manifest.calibration.threshold for score in scores)}/{len(scores)}"


def trained(work: Path, images: Sequence[Path]) -> Path:
    """A bundle of these images; an earlier one is used again."""
    half, out = work / "half", work / "half.occ"
    half.mkdir(exist_ok=True)
    for path in images:
        shutil.copy(path, half)
    if not out.exists():
        command = [sys.executable, "-m", "edge_occ", "train", "--preset", "imagenet", "--data", str(half)]
        subprocess.run([*command, "--out", str(out)], check=True)
    return out


def main(work: Path, data: Path, names: Sequence[str]) -> None:
    train = find_images(data / "train" / "good")
    bundle = trained(work, train[::2])
    kinds = sorted(path for path in (data / "test").iterdir() if path.is_dir() and path.name != "good")
    defects = [read_image(path) for kind in kinds for path in find_images(kind)]
    good = [read_image(path) for path in find_images(data / "test" / "good")]
    print("| change | bundle | threshold | test good | defects | held out | processor s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in names or CHANGES:
        change = CHANGES[name]
        with tempfile.TemporaryDirectory() as folder:
            copy, new = Path(folder) / "part.occ", Path(folder) / "new"
            new.mkdir()
            for path in train[1::2]:
                cv2.imwrite(str(new / f"{path.stem}.png"), change(read_image(path)))
            for mode in ("before", "refitted", "threshold only"):
                shutil.copy(bundle, copy)
                begun, held_out, seconds = time.process_time(), "", ""
                if mode != "before":
                    job = RecalibrationJob(copy, data=new, threshold_only=mode != "refitted", engine="cpu")
                    record = job.run(say).record
                    held_out, seconds = (
                        f"{record.false_alarms}/{record.held_out}",
                        f"{time.process_time() - begun:.1f}",
                    )
                threshold = read_bundle(copy).manifest.calibration.threshold
                found = [above(copy, [change(image) for image in images]) for images in (good, defects)]
                cells = (name, mode, f"{threshold:.1f}", *found, held_out, seconds)
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
