"""Frames until a change of the camera is noticed, and false alarms without one, on recorded scores of real images.

``python benchmarks/drift.py OUT --shared DIR`` needs ``mvtec_ad/bottle`` and ``magnetic_tiles`` below DIR, and the
package elpv-dataset.  Half of each set's good images, drawn at random, train a bundle in the folder OUT; the others are
the line.  They are scored once as they are and once with every change (``OUT/SET.json``, made only if absent).  Streams
of frames drawn from these scores then pass the monitor of ``edge-occ run`` with its default settings.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from elpv_dataset.utils import load_dataset
from numpy.typing import NDArray

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.conformal import ConformalThreshold, calibrate
from edge_occ.bundle.loading import load_engine
from edge_occ.common.images import find_images, read_image
from edge_occ.inspection.drift import DriftConfig, DriftMonitor

Image = NDArray[np.uint8]


def brighter(by: float) -> Callable[[Image], Image]:
    return lambda image: np.rint(image * (1 + by)).clip(0, 255).astype(np.uint8)


def blurred(sigma: float) -> Callable[[Image], Image]:
    return lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def jpeg(image: Image) -> Image:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def noisy(image: Image) -> Image:
    grey = bool((image[..., :1] == image).all())
    chance = np.random.default_rng(zlib.crc32(image.tobytes()))
    grain = chance.normal(0, 2, (*image.shape[:2], 1 if grey else 3))
    return np.rint(image + grain).clip(0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "unchanged": lambda image: image,
    "2 % brighter": brighter(0.02),
    "5 % brighter": brighter(0.05),
    "5 % darker": brighter(-0.05),
    "blur 0.5": blurred(0.5),
    "blur 1": blurred(1),
    "JPEG 80": jpeg,
    "noise 2": noisy,
}


@dataclass(frozen=True)
class DataSet:
    """Images of one kind of part; ``session`` are good ones of another recording."""

    name: str
    good: Sequence[Image]
    defects: Sequence[Image]
    session: Sequence[Image] = field(default=())


def bottle(shared: Path) -> DataSet:
    root = shared / "mvtec_ad" / "bottle"
    good = [read_image(path) for part in ("train", "test") for path in find_images(root / part / "good")]
    kinds = [kind for kind in sorted((root / "test").iterdir()) if kind.name != "good"]
    return DataSet("bottle", good, [read_image(path) for kind in kinds for path in find_images(kind)])


def tiles(shared: Path) -> DataSet:
    """Magnetic tiles; the names of the files begin with the number of the experiment in which they were recorded."""
    root = shared / "magnetic_tiles"
    found = {path.name: read_image(path) for path in sorted((root / "MT_Free" / "Imgs").glob("*.jpg"))}
    later = ("exp5_", "exp6_")
    session = [image for name, image in found.items() if name.startswith(later)]
    good = [image for name, image in found.items() if not name.startswith(later)]
    kinds = ("MT_Blowhole", "MT_Break", "MT_Crack", "MT_Fray", "MT_Uneven")
    bad = [read_image(path) for kind in kinds for path in sorted((root / kind / "Imgs").glob("*.jpg"))]
    return DataSet("tiles", good, bad, session)


def cells(_: Path) -> DataSet:
    """Monocrystalline solar cells; another session are polycrystalline ones, another product."""
    images, probability, kind = load_dataset()
    coloured = [cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) for image in images]
    of = {
        (name, chance): [coloured[i] for i in np.flatnonzero((kind == name) & (probability == chance))]
        for name in ("mono", "poly")
        for chance in (0, 1)
    }
    return DataSet("cells", of["mono", 0], of["mono", 1], of["poly", 0])


SETS = {"bottle": (bottle, []), "cells": (cells, []), "tiles": (tiles, ["--set", "head.scope=shared"])}


def scores_of(name: str, out: Path, shared: Path) -> dict[str, list[float]]:
    """Train on a half of the good images, score the others; or read what an earlier call has found."""
    record = out / f"{name}.json"
    if record.exists():
        found: dict[str, list[float]] = json.loads(record.read_text())
        return found
    make, settings = SETS[name]
    data = make(shared)
    order = np.random.default_rng(0).permutation(len(data.good))
    half = len(order) // 2
    folder = out / name / "good"
    folder.mkdir(parents=True, exist_ok=True)
    for index in order[:half]:
        cv2.imwrite(str(folder / f"{index:04d}.png"), data.good[index])
    bundle = out / f"{name}.occ"
    train = ["train", "--data", str(folder), "--preset", "imagenet", "--out", str(bundle), *settings]
    subprocess.run(
        [sys.executable, "-m", "edge_occ", *train, "--set", "export.fp16=false", "--set", "export.features=false"],
        check=True,
    )
    opened = read_bundle(bundle)
    engine = load_engine(opened, "cpu", "fp32").engine
    line = [data.good[index] for index in order[half:]]
    images: dict[str, Sequence[Image]] = {
        **{change: [function(image) for image in line] for change, function in CHANGES.items()},
        "defects": data.defects[:100],
        "another session": data.session[:100],
    }
    scores = {kind: [engine.infer(image).score for image in some] for kind, some in images.items()}
    engine.close()
    scores["held out"] = opened.held_out.tolist()
    record.write_text(json.dumps(scores))
    return scores


def frames_until_alarm(held_out: Sequence[float], stream: NDArray[np.float64], rate: float) -> int | None:
    """Number of the frame, from 1, at which the monitor of ``edge-occ run`` raises its first alarm; None: never."""
    calibration = calibrate(np.array(held_out), rate)
    threshold = ConformalThreshold(held_out, calibration.threshold)
    monitor = DriftMonitor(threshold, calibration, DriftConfig(), lambda _: None)
    for number, score in enumerate(stream.tolist(), 1):
        monitor.take(threshold.verdict(score))
        if monitor.state.alarm:
            return number
    return None


def draw(scores: Sequence[float], count: int, chance: np.random.Generator) -> NDArray[np.float64]:
    return chance.choice(np.array(scores), count)


def with_defects(
    stream: NDArray[np.float64], defects: Sequence[float], share: float, chance: np.random.Generator
) -> NDArray[np.float64]:
    return np.where(chance.random(len(stream)) < share, draw(defects, len(stream), chance), stream)


def delays(
    scores: dict[str, list[float]], change: str, before: int, chance: np.random.Generator, streams: int = 20
) -> dict[str, object]:
    """Frames after a change until the alarm, in streams with 2 % defects; the change comes after ``before`` frames."""
    found = []
    for _ in range(streams):
        stream = np.concatenate([draw(scores["unchanged"], before, chance), draw(scores[change], 1000, chance)])
        at = frames_until_alarm(scores["held out"], with_defects(stream, scores["defects"], 0.02, chance), 0.01)
        found.append(np.inf if at is None else at - before)
    late = sorted(found)
    return {
        "noticed": int(np.isfinite(found).sum()),
        "early": int((np.array(found) <= 0).sum()),
        "median": late[streams // 2],
        "p95": late[int(0.95 * streams)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--streams", type=int, default=30)
    parser.add_argument("--frames", type=int, default=4000)
    given = parser.parse_args()
    for name in given.sets:
        scores = scores_of(name, given.out, given.shared)
        chance = np.random.default_rng(0)
        held_out, limit = scores["held out"], calibrate(np.array(scores["held out"]), 0.01).threshold
        print(json.dumps({"set": name, "held_out": len(held_out), "line": len(scores["unchanged"])}), flush=True)
        for share in (0.0, 0.02, 0.05):
            alarms = [
                frames_until_alarm(
                    held_out,
                    with_defects(draw(scores["unchanged"], given.frames, chance), scores["defects"], share, chance),
                    0.01,
                )
                for _ in range(given.streams)
            ]
            found = sum(alarm is not None for alarm in alarms)
            print(json.dumps({"defects": share, "streams": given.streams, "with an alarm": found}), flush=True)
        for change in (*CHANGES, "another session"):
            changed = np.array(scores[change])
            if change == "unchanged" or not len(changed):
                continue
            line = {
                "change": change,
                "above_threshold": round(float((changed > limit).mean()), 3),
                "after_500": delays(scores, change, 500, chance),
                "from_the_start": delays(scores, change, 0, chance),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
