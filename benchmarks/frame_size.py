"""What the size of the camera's frame costs: the graph resizes it by two matrix products.

    python benchmarks/frame_size.py part.occ

Prints the median milliseconds of one frame and the ratio to a frame that needs no resizing; interleaved, in one run.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from edge_occ.bundle import read_bundle
from engines.cpu import OnnxRuntimeEngine

ROUNDS = 40


def main() -> None:
    bundle = read_bundle(Path(sys.argv[1]))
    engine = OnnxRuntimeEngine(bundle.graph())
    side = bundle.manifest.geometry.size
    sizes = [(side, side), (480, 640), (720, 1280), (1080, 1920)]
    frames = [np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    seconds = np.zeros((ROUNDS, len(sizes)))
    for frame in frames:
        engine.infer(frame)
    for row in seconds:
        for column, frame in enumerate(frames):
            begun = time.perf_counter()
            engine.infer(frame)
            row[column] = time.perf_counter() - begun
    median = np.median(seconds, axis=0)
    for (height, width), value in zip(sizes, median, strict=True):
        print(f"{width:>5} x {height:<5} {1e3 * value:6.1f} ms  {value / median[0]:.2f}")


if __name__ == "__main__":
    main()
