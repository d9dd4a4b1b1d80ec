"""Smallest square that is detected on 1024x1024 images, which are shrunk 4 times: on a disc and on a texture.

``python benchmarks/small_defects.py FOLDER`` generates images in the folder, trains on them and prints a line for each
size.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE, SHRUNK = 1024, 4
TRAINED, TESTED = 60, 10


def picture(kind: str, seed: int, square: int = 0) -> NDArray[np.uint8]:
    """Return a good part, or one with a square, dark for odd seeds and bright for even ones."""
    random = np.random.default_rng(seed)
    noise = random.normal(0, 5, (SIDE, SIDE, 3))
    if kind == "disc":
        image = 60 + noise
        x, y = (SIDE // 2 + int(shift) for shift in random.integers(-6, 7, 2))
        cv2.circle(image, (x, y), 330, (150, 160, 170), -1, cv2.LINE_AA)
    else:
        coarse = random.normal(128, 25, (SIDE // SHRUNK, SIDE // SHRUNK, 3))
        image = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) + noise
    x, y = random.integers(350, 650, 2)
    image[y : y + square, x : x + square] = 20 if seed % 2 else 230
    return np.clip(image, 0, 255).astype(np.uint8)


def write(folder: Path, kind: str, seeds: range, square: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        cv2.imwrite(str(folder / f"{seed:04}.png"), picture(kind, seed, square))
    return folder


def edge_occ(*arguments: object) -> str:
    command = [sys.executable, "-m", "edge_occ", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(folder: Path) -> None:
    for kind in ("disc", "texture"):
        bundle = folder / f"{kind}.occ"
        good = write(folder / kind / "good", kind, range(TRAINED))
        edge_occ("train", "--data", good, "--preset", "imagenet", "--set", "export.fp16=false", "--out", bundle)
        for square in (0, 4, 8, 12, 16, 20, 24, 32, 48):
            test = write(folder / kind / f"{square}", kind, range(1000, 1000 + TESTED), square)
            lines = edge_occ("score", bundle, test, "--json").splitlines()
            found = sum(json.loads(line)["verdict"] == "anomalous" for line in lines)
            print(f"{kind:<8} {square:2} pixels, {square / SHRUNK:4.1f} resized: {found} of {TESTED}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
