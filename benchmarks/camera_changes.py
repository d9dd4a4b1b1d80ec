"""False alarms on mild changes of good parts, with heads that learned from changed copies and without.

``python benchmarks/camera_changes.py OUT --data DIR... [--preset imagenet] [--copies 0 1 2]`` trains one bundle a data
set (MVTec layout) and number of copies in the folder OUT, and prints a line of JSON for each: image AUROC, defective
test images found at the declared rate, and false alarms on the good test images as they are and changed.

``python benchmarks/camera_changes.py OUT --data DIR --bundle FILE`` prints the same of a bundle that there is already.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.common.images import find_images, read_image
from trainer.evaluation.metrics import image_auroc

Image = NDArray[np.uint8]


def jpeg(quality: int) -> Callable[[Image], Image]:
    def encode(image: Image) -> Image:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    return encode


def noisy(image: Image) -> Image:
    """The noise of a grey picture is grey."""
    grey = bool((image == image[:, :, :1]).all())
    shape = (*image.shape[:2], 1 if grey else 3)
    grain = np.random.default_rng(zlib.crc32(image.tobytes())).normal(0, 2, shape)
    return np.rint(image + grain).clip(0, 255).astype(np.uint8)


def brighter(image: Image) -> Image:
    return np.rint(image * 1.02).clip(0, 255).astype(np.uint8)


def shifted(image: Image) -> Image:
    return np.pad(image, ((0, 0), (1, 0), (0, 0)), mode="edge")[:, :-1]


CHANGES: dict[str, Callable[[Image], Image]] = {
    "as they are": lambda image: image,
    "JPEG 90": jpeg(90),
    "JPEG 80": jpeg(80),
    "noise 2": noisy,
    "2 % brighter": brighter,
    "1 pixel aside": shifted,
}


def edge_occ(*arguments: object) -> str:
    command = [sys.executable, "-m", "edge_occ", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def trained(data: Path, preset: str, copies: int, out: Path, extra: list[str]) -> dict[str, object]:
    bundle = out / f"{data.name}-{preset}-{copies}.occ"
    settings = [part for one in (f"camera_changes.copies={copies}", *extra) for part in ("--set", one)]
    begun = time.monotonic()
    edge_occ("train", "--data", data, "--preset", preset, *settings, "--out", bundle)
    seconds = round(time.monotonic() - begun)
    size = round(bundle.stat().st_size / 1e6, 1)
    return {"preset": preset, "copies": copies, **measure(data, bundle), "train_seconds": seconds, "bundle_mb": size}


def measure(data: Path, bundle: Path) -> dict[str, object]:
    opened = read_bundle(bundle)
    threshold = opened.manifest.calibration.threshold
    engine = load_engine(opened, "cpu", "fp32").engine
    good = [read_image(path) for path in find_images(data / "test" / "good")]
    scores = {name: np.array([engine.infer(change(image)).score for image in good]) for name, change in CHANGES.items()}
    kinds = [kind for kind in sorted((data / "test").iterdir()) if kind.name != "good"]
    bad = np.array([engine.infer(read_image(path)).score for kind in kinds for path in find_images(kind)])
    engine.close()
    defective = np.repeat([False, True], [len(good), len(bad)])
    return {
        "data": data.name,
        "image_auroc": image_auroc(defective, np.concatenate((scores["as they are"], bad))),
        "found": int((bad > threshold).sum()),
        "defective": len(bad),
        "good": len(good),
        "false_alarms": {name: int((of > threshold).sum()) for name, of in scores.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--preset", default="imagenet")
    parser.add_argument("--copies", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", dest="extra", nargs="*", default=["export.fp16=false"])
    parser.add_argument("--bundle", type=Path)
    given = parser.parse_args()
    if given.bundle:
        if len(given.data) > 1:
            parser.error("--bundle goes with one folder of --data")
        print(json.dumps(measure(given.data[0], given.bundle)))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    for data in given.data:
        for copies in given.copies:
            print(json.dumps(trained(data, given.preset, copies, given.out, given.extra)), flush=True)


if __name__ == "__main__":
    main()
