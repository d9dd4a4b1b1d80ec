"""Cost of large frames: inference with the graph's own resizing and with the frame halved before it, and heatmaps.

    python benchmarks/frame_size.py part.occ [VIDEO]

Prints the median milliseconds of a frame of several sizes, wall-clock and processor time, and the ratio of its
wall-clock time to that of a frame that needs no resizing.  All measurements are interleaved in one run.  The frames are
those of VIDEO, enlarged and with added noise, or noise only.  VIDEO is also enlarged to 3840x2160, written losslessly
(Ut Video, 4:2:0 from OpenCV's writer), and inspected by ``edge-occ run`` in a separate process, without MQTT and, with
--broker, with MQTT: frames per second, processor time and peak resident memory.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.downscale import downscale
from edge_occ.output.heatmap import encode_jpeg, overlay, shrink
from engines.onnxruntime import OnnxRuntimeEngine

ROUNDS = 15
SIZES = [(480, 640), (720, 1280), (1080, 1920), (2160, 3840), (3000, 4000)]
HEATMAP_SIDE = 1024
VIDEO_FRAMES = 120


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("--broker")
    arguments = parser.parse_args()
    time_frames(arguments.bundle, arguments.video)
    if arguments.video is not None:
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder) / "uhd.avi"
            write_uhd(arguments.video, clip)
            time_decoding(clip)
            for where in ([], ["--broker", arguments.broker]) if arguments.broker else ([],):
                inspect(arguments.bundle, clip, where or ["--no-mqtt"])


def time_frames(path: Path, video: Path | None) -> None:
    """Time every operation on a frame of every size."""
    bundle = read_bundle(path)
    engine, own = OnnxRuntimeEngine(bundle.graph()), bundle.manifest.geometry.size
    calibration = bundle.manifest.calibration
    low, threshold = calibration.median, calibration.threshold
    operations: dict[tuple[str, tuple[int, int]], Callable[[], object]] = {}
    for size in [own, *SIZES]:
        frame = picture(size, video)
        scores = engine.infer(frame)
        halved = engine.infer(downscale(frame, own))
        print(f"{size[1]}x{size[0]}: score {scores.score:.6g}, halved {halved.score / scores.score - 1:+.2%}")
        drawn = overlay(frame, scores.map, low, threshold)
        small = shrink(drawn, HEATMAP_SIDE)
        operations["inference, resized in the graph", size] = partial(engine.infer, frame)
        operations["inference, halved before it", size] = lambda f=frame: engine.infer(downscale(f, own))
        operations["halving alone", size] = partial(downscale, frame, own)
        operations["overlay on all pixels", size] = partial(overlay, frame, scores.map, low, threshold)
        operations["overlay, shrunk first", size] = partial(overlay, frame, scores.map, low, threshold, HEATMAP_SIDE)
        operations["JPEG of all pixels", size] = partial(encode_jpeg, drawn)
        operations["JPEG, shrunk", size] = partial(encode_jpeg, small)
    wall, processor = np.zeros((2, ROUNDS, len(operations)))
    for row in range(ROUNDS):
        for column, operation in enumerate(operations.values()):
            began, worked = time.perf_counter(), time.process_time()
            operation()
            wall[row, column] = time.perf_counter() - began
            processor[row, column] = time.process_time() - worked
    medians = dict(zip(operations, 1e3 * np.median([wall, processor], axis=1).T, strict=True))
    base = medians["inference, resized in the graph", own][0]
    for (operation, (height, width)), (elapsed, worked) in sorted(medians.items()):
        print(
            f"{operation:<32} {width:>4} x {height:<4} {elapsed:7.1f} ms, {worked:7.1f} of processor, "
            f"{elapsed / base:.2f}"
        )


def picture(size: tuple[int, int], video: Path | None) -> NDArray[np.uint8]:
    """Return a video frame with camera noise, or noise only."""
    noise = np.random.default_rng(0)
    if video is None:
        return noise.integers(0, 256, (*size, 3), dtype=np.uint8)
    frame = cv2.resize(first_frames(video, 1)[0], size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(frame + noise.normal(0, 3, frame.shape), 0, 255).round().astype(np.uint8)


def first_frames(video: Path, count: int) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(video))
    read = (capture.read() for _ in range(count))
    return [np.asarray(frame, dtype=np.uint8) for readable, frame in read if readable]


def write_uhd(video: Path, clip: Path) -> None:
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"ULRG"), 30, (3840, 2160))
    for frame in first_frames(video, VIDEO_FRAMES):
        writer.write(cv2.resize(frame, (3840, 2160), interpolation=cv2.INTER_CUBIC))
    writer.release()


def time_decoding(clip: Path) -> None:
    capture = cv2.VideoCapture(str(clip))
    began, worked, count = time.perf_counter(), time.process_time(), 0
    while capture.read()[0]:
        count += 1
    elapsed, worked = time.perf_counter() - began, time.process_time() - worked
    print(f"decoding alone: {1e3 * elapsed / count:.1f} ms a frame, {1e3 * worked / count:.1f} of processor")


def inspect(bundle: Path, clip: Path, where: list[str]) -> None:
    """Run the whole inspector in a separate process."""
    command = [sys.executable, "-m", "edge_occ", "run", "--bundle", str(bundle), "--source", str(clip), *where]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stderr=errors, stdout=subprocess.DEVNULL)
        status, peak = Path(f"/proc/{process.pid}/status"), 0
        # wait4 reports a peak that includes the memory of this process before exec.
        while process.poll() is None:
            high = re.search(r"VmHWM:\s+(\d+)", status.read_text())
            peak = max(peak, int(high[1]) if high else 0)
            time.sleep(0.02)
        errors.seek(0)
        fps = re.findall(r"frames, ([\d.]+)/s", errors.read())[-1]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"run {' '.join(where)}: {fps} frames/s, {seconds:.1f} s of processor for {VIDEO_FRAMES} frames and the start; "
        f"peak resident {peak / 1024:.0f} MB"
    )


if __name__ == "__main__":
    main()
