"""Streams through one engine: frames a second, drops, and the time from capture to publishing.

    PYTHONPATH=.:tests python benchmarks/streams.py BUNDLE --images DIR [--videos DIR]

Every row but the engine's own is ``edge-occ run`` in a process of its own with a real mosquitto, as its subscriber
sees it.  ``--images`` are played as live cameras, ``--fps`` each, then once as fast as possible; each video is played
without drops and compared with the engine alone on the same frames, before and after.  Alone on a machine it takes
under four minutes.  The output is the table of docs/results/stream.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mqtt_helpers import Ear, Mosquitto

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.inspection.metrics import Laps, Latencies, Stage

_WARM_UP = 5
"""First frames of each camera that are left out."""
_START_SECONDS = 180.0
_VIDEO_FRAMES, _ENGINE_FRAMES = 240, 80


def read_all(ear: Ear, kind: str) -> dict[str, list[dict[str, Any]]]:
    """Return the messages of a kind by camera."""
    found: dict[str, list[dict[str, Any]]] = {}
    for message in ear.of(kind):
        content = json.loads(bytes(message.payload))
        found.setdefault(content["camera"], []).append(content)
    return found


def play(
    broker: Mosquitto, bundle: Path, sources: list[str], seconds: float, *, frames: int | None = None
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[dict[str, Any]]], str]:
    """Run the inspector; return scores and statistics by camera, and what it printed.

    It ends after ``seconds`` from the first score, or by itself after ``frames``.
    """
    device = f"bench-{time.monotonic_ns()}"
    # Foreign videos are neither sharp nor coloured as the training's images; their frames are to be scored.
    off = ("blurred", "grey", "frozen", "exposure", "size")
    settings = (f"mqtt.device={device}", *(f"guards.{guard}=false" for guard in off))
    command = [sys.executable, "-m", "edge_occ", "run", "--bundle", str(bundle), "--broker", broker.url]
    command += [part for setting in settings for part in ("--set", setting)]
    command += [part for source in sources for part in ("--source", source)]
    command += ["--max-frames", str(frames)] if frames else []
    with Ear(broker.port, f"edge-occ/{device}/#") as ear, tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=printed)
        deadline = time.monotonic() + _START_SECONDS
        while not ear.of("score") and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
        printed.seek(0)
        lines = printed.read()
        if process.returncode not in (0, 130):
            raise SystemExit(lines)
        ear.wait_for_state("offline")
        return read_all(ear, "score"), read_all(ear, "stats"), lines


def figures(scores: dict[str, list[dict[str, Any]]], stats: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Return the figures of a run over all its cameras."""
    kept = {camera: of[_WARM_UP:] for camera, of in scores.items() if len(of) > _WARM_UP + 1}
    if not kept:
        raise SystemExit(
            f"fewer than {_WARM_UP + 2} scores of each camera: give --seconds more than the machine has now"
        )
    latencies = np.array([score["latency_ms"] for of in kept.values() for score in of])
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    seconds = max(of[-1]["ts"] - of[0]["ts"] for of in kept.values()) / 1e3
    last = [of[-1] for of in stats.values()]
    engine = float(np.median([of["engine_p50_ms"] for of in last]))
    return {
        "fps": sum(map(len, kept.values())) / seconds,
        "dropped": sum(of["dropped"] for of in last),
        "faults": sum(of["faults"] for of in last),
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "ratio": p99 / p50,
        "wait_p95": max(of["wait_p95_ms"] for of in last),
        "engine_p50": engine,
        "not_engine": 1 - engine / p50,
    }


def row(name: str, found: dict[str, float]) -> str:
    return (
        f"| {name} | {found['fps']:.1f} | {found['dropped']:.0f} | {found['p50']:.1f}, {found['p95']:.1f}, "
        f"{found['p99']:.1f} | {found['ratio']:.2f} | {found['engine_p50']:.1f} | {found['not_engine']:.0%} |"
    )


def engine_seconds(bundle: Path, pictures: list[Any]) -> float:
    """Return the mean seconds that the engine alone takes for one of these frames."""
    with closing(load_engine(read_bundle(bundle), "auto").engine) as engine:
        for picture in pictures[:_WARM_UP]:
            engine.infer(picture)
        begun = time.perf_counter()
        for picture in pictures:
            engine.infer(picture)
        return (time.perf_counter() - begun) / len(pictures)


def first_frames(video: Path, count: int) -> list[Any]:
    capture = cv2.VideoCapture(str(video))
    frames = [frame for _ in range(count) if (frame := capture.read()[1]) is not None]
    capture.release()
    return frames


def of_engine(broker: Mosquitto, bundle: Path, video: Path, runs: int) -> str:
    """Return a row: medians of several runs end to end, each against the engine alone, timed before and after it."""
    pictures = first_frames(video, _ENGINE_FRAMES)
    alone, whole = [], []
    for _ in range(runs):
        before = engine_seconds(bundle, pictures)
        _, _, lines = play(broker, bundle, [str(video)], 120.0, frames=_VIDEO_FRAMES)
        alone.append(2 / (before + engine_seconds(bundle, pictures)))
        found = re.search(r"([\d,]+) frames, ([\d.]+)/s", lines)
        if found is None:
            raise SystemExit(lines)
        whole.append(float(found[2]))
    height, width = pictures[0].shape[:2]
    ratios = np.divide(whole, alone)
    return (
        f"| {video.name}, {width}x{height} | {np.median(alone):.1f} | {np.median(whole):.1f} "
        f"| {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}) |"
    )


def cost_of_metrics(frames: int = 20_000) -> float:
    """Return the microseconds of processor time a frame that its stages take to be recorded, clock included."""
    latencies = Latencies()
    begun = time.thread_time()
    for _ in range(frames):
        laps = Laps(time.monotonic())
        for stage in (Stage.CAPTURE, Stage.WAIT, Stage.PREPROCESS, Stage.ENGINE, Stage.DECIDE):
            laps.end(stage, time.monotonic())
        laps.record(latencies)
        for stage in (Stage.TOTAL, Stage.PUBLISH):
            latencies.record(stage, 0.01)
    return (time.thread_time() - begun) / frames * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="a folder of good images")
    parser.add_argument("--videos", type=Path, help="a folder of .mp4 files")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--fps", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--runs", type=int, default=5, help="of each video")
    options = parser.parse_args()
    print(f"load average at the start {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    print(f"recording of a frame's stages: {cost_of_metrics():.1f} microseconds\n")
    with tempfile.TemporaryDirectory() as folder:
        broker = Mosquitto(Path(folder)).start()
        try:
            print(
                "| streams | frames/s | dropped | capture to publish p50, p95, p99 ms | p99/p50 | engine p50 | rest |"
            )
            print("|---|---|---|---|---|---|---|")
            for count in options.streams:
                live = f"{options.images}?live=1&loop=1&fps={options.fps:g}"
                scores, stats, _ = play(broker, options.bundle, [f"c{i}={live}" for i in range(count)], options.seconds)
                print(row(f"{count} x {options.fps:g}/s", figures(scores, stats)), flush=True)
            scores, stats, _ = play(broker, options.bundle, [f"{options.images}?loop=1"], options.seconds)
            print(row("1, as fast as possible", figures(scores, stats)), flush=True)
            if options.videos is not None:
                print("\n| video | engine alone, frames/s | end to end, frames/s | of engine |")
                print("|---|---|---|---|")
                for video in sorted(options.videos.glob("*.mp4")):
                    print(of_engine(broker, options.bundle, video, options.runs), flush=True)
        finally:
            broker.stop()
    print(f"\nload average at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
