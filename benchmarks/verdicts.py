"""Verdicts of every engine and precision of this machine, compared with ONNX Runtime in fp32.

    PYTHONPATH=. python benchmarks/verdicts.py BUNDLE FOLDER [FOLDER ...]

All pictures of the folders are scored.  Printed are, for each engine, the pictures with another verdict, the largest
relative difference of a score, and how near to the threshold the nearest score lies.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.common.images import find_images, read_image
from engines.base import EngineOptions
from engines.errors import EngineUnavailable, ParityFailure

_ENGINES = (("cpu", "fp32"), ("cpu", "fp16"), ("openvino", "fp32"), ("openvino", "fp16"), ("opencv", "fp32"))


def scores(bundle: Bundle, name: str, precision: str, paths: list[Path]) -> NDArray[np.float64]:
    """Return the image score of every picture."""
    with closing(load_engine(bundle, name, precision, EngineOptions(threads=1)).engine) as engine:
        return np.array([engine.infer(read_image(path)).score for path in paths])


def main(file: str, *folders: str) -> None:
    bundle = read_bundle(Path(file))
    threshold = bundle.manifest.calibration.threshold
    paths = [path for folder in folders for path in find_images(Path(folder))]
    exact = scores(bundle, *_ENGINES[0], paths)
    found, nearest = (exact > threshold).sum(), np.abs(exact / threshold - 1).min()
    print(f"{file}: {len(paths)} pictures, {found} above the threshold, the nearest {nearest:.1e} from it")
    for name, precision in _ENGINES[1:]:
        if precision not in bundle.precisions:
            continue
        try:
            other = scores(bundle, name, precision, paths)
        except (EngineUnavailable, ParityFailure) as error:
            print(f"  {name} {precision}: {error}")
            continue
        changed = [path.name for path, one, two in zip(paths, exact, other, strict=True)
                   if (one > threshold) != (two > threshold)]  # fmt: skip
        error_of_score = np.abs(other / exact - 1).max()
        print(f"  {name} {precision}: other verdicts {len(changed)} {changed}, score {error_of_score:.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
