"""Speed of a bundle on this machine, measured with its own golden frames."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import ENCODER_GRAPH, Bundle, read_bundle
from edge_occ.bundle.loading import LoadedEngine
from edge_occ.inspection.events import EventTracker
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.messages import score_message
from edge_occ.output.outlets import Outlets
from edge_occ.runtime.inspector import Inspector
from edge_occ.runtime.scheduler import Lane, Scheduler
from edge_occ.runtime.summary import RunSummary
from edge_occ.sources.faults import Fault
from edge_occ.sources.opening import open_source
from engines.base import Engine, EngineOptions
from engines.errors import UserError
from engines.onnxruntime import EncoderRunner, OnnxRuntimeEngine

_WARM_UP = 5
_WINDOW_ROUNDS = 3
_PACE = 0.5
"""Rate of the paced source as a share of the highest rate of the machine."""
_MAX_RATE = 1000.0
"""Highest ``fps`` that a source accepts."""
_PACED_FRAMES = 100


class Load(Protocol):
    """A function that opens a bundle's engine; see :func:`edge_occ.bundle.loading.load_engine`."""

    def __call__(
        self, bundle: Bundle, name: str, precision: str = ..., options: EngineOptions | None = ...
    ) -> LoadedEngine:
        """Open it."""


def run_bench(
    path: Path,
    frames: int,
    load: Load,
    engine: str,
    precision: str = "auto",
    *,
    compare: bool = False,
    sha256: str | None = None,
) -> dict[str, Any]:
    """Measure the engine alone, the whole inspector on files, and the dense graph against its windows one by one.

    Args:
        path: the bundle.
        frames: frames to time.
        load: opens engines.
        engine: name of the engine.
        precision: of the encoder, or ``auto``.
        compare: time every precision of the bundle with the same engine.
        sha256: of the bundle's file; see :func:`edge_occ.bundle.bundle.read_bundle`.

    Returns:
        The content of ``bench --json``.
    """
    begun = time.perf_counter()
    bundle = read_bundle(path, sha256)
    loaded = load(bundle, engine, precision)
    cold_start = time.perf_counter() - begun
    golden = bundle.golden()
    own = _whole_frames(bundle, golden.frames)
    pictures = [own[i % len(own)] for i in range(frames)]
    with closing(loaded.engine) as running:
        for picture in pictures[:_WARM_UP]:
            running.infer(picture)
        alone = _times(running, pictures)
        whole, paced, rate = _end_to_end(running, bundle, pictures)
        # The engine is timed before and after the whole, because the load of the machine may change.
        alone += _times(running, pictures)
        # Read while the engine is open: a closed one has no CUDA graph.
        facts = {"name": running.name, "precision": running.precision, "detail": running.detail}
    resident = _peak_rss_mb()
    others = [p for p in bundle.precisions if p != running.precision] if compare else []
    ways: tuple[Literal["mapped", "copy"], ...] = ("mapped", "copy") if running.name == "tensorrt" else ()
    geometry = bundle.manifest.geometry
    return {
        "engine": {**facts, "ms": _milliseconds(alone)},
        "precisions": {p: _other(partial(load, bundle, running.name, p), pictures) for p in others},
        "memory": {
            way: _other(partial(load, bundle, running.name, running.precision, EngineOptions(memory=way)), pictures)
            for way in ways
        },
        "end_to_end": {
            "fps": round(whole.fps, 2),
            "ms": paced.verdict_ms,
            "paced_fps": round(rate, 2),
            "of_engine": round(whole.fps * float(np.mean(alone)), 4),
        },
        "dense": _dense(bundle, golden.frames[0]) if ENCODER_GRAPH in bundle.members else None,
        "rss_mb": round(resident, 1),
        "cold_start_s": round(cold_start, 3),
        "input": list(own[0].shape[:2]),
        "grid": list(geometry.grid),
    }


def _whole_frames(bundle: Bundle, golden: Sequence[NDArray[np.uint8]]) -> Sequence[NDArray[np.uint8]]:
    """Return frames to time: the golden ones, or, where these are tiles, the same stretched to the camera's frame."""
    geometry = bundle.manifest.geometry
    if geometry.tiles is None or geometry.frame is None:
        return golden
    size = geometry.frame[::-1]
    return [np.asarray(cv2.resize(tile, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8) for tile in golden]


def _other(load: Callable[[], LoadedEngine], pictures: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """Return the latency of another engine for the bundle, or why it does not load."""
    try:
        engine = load().engine
    except UserError as error:
        return {"failed": error.found}
    with closing(engine):
        for picture in pictures[:_WARM_UP]:
            engine.infer(picture)
        return _milliseconds(_times(engine, pictures))


class _SerialisingSink:
    """A sink that makes the message of each frame, as every other one does, and sends nothing."""

    name = "messages"

    def publish(self, inspection: Inspection) -> None:
        score_message(inspection, 0.0).to_json()

    def fault(self, fault: Fault) -> None:
        pass

    def finish(self, inspection: Inspection) -> None:
        pass


def _end_to_end(
    engine: Engine, bundle: Bundle, pictures: Sequence[NDArray[np.uint8]]
) -> tuple[RunSummary, RunSummary, float]:
    """Run from PNG files to serialised messages, without a broker: at full speed, then at the pace of a camera.

    A source that waits for its reader keeps its read-ahead full, so a frame's latency would be that of the queue.
    Latency is therefore measured with a source that captures at half the rate that was just reached, as a camera would.

    Returns:
        Summaries of both runs, and the rate of the second in frames a second.
    """
    with tempfile.TemporaryDirectory() as folder:
        for index, picture in enumerate(pictures):
            cv2.imwrite(f"{folder}/{index:06d}.png", picture)
        whole = _inspect(engine, bundle, folder)
        rate = min(_PACE * whole.fps, _MAX_RATE)
        return whole, _inspect(engine, bundle, f"{folder}?fps={rate:f}", _PACED_FRAMES), rate


def _inspect(engine: Engine, bundle: Bundle, uri: str, frames: int | None = None) -> RunSummary:
    inspector = Inspector(engine, bundle.conformal_threshold(), EventTracker(), Outlets([_SerialisingSink()]))
    begun = time.perf_counter()
    with open_source(uri) as source:
        Scheduler([Lane("", source, inspector)]).run(frames)
        summary = inspector.summary(source.dropped)
    return replace(summary, seconds=time.perf_counter() - begun)


def _dense(bundle: Bundle, frame: NDArray[np.uint8]) -> dict[str, float]:
    """Compare one pass of the encoder over a frame with the same encoder on each of its windows, in one runtime."""
    geometry = bundle.manifest.geometry
    # Of the size of the graph's images, so that it is not resized again.
    image = np.asarray(cv2.resize(frame, geometry.size[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)
    rows, columns = geometry.grid
    windows = np.stack(
        [
            image[y : y + geometry.window, x : x + geometry.window]
            for y in range(0, rows * geometry.stride, geometry.stride)
            for x in range(0, columns * geometry.stride, geometry.stride)
        ]
    )
    one_by_one = np.split(windows, len(windows))
    # The dense features are those inside the graph that inspects, not those of the encoder's own graph.
    with closing(OnnxRuntimeEngine(bundle.graph())) as inspecting:
        inside = inspecting.features(image)[geometry.branch]
    dense_s, windows_s, batch_s = [], [], []
    with closing(EncoderRunner(bundle.members[ENCODER_GRAPH])) as encoder:
        difference = np.abs(inside - encoder.features(windows).reshape(rows, columns, -1)).max()
        for _ in range(_WINDOW_ROUNDS):
            dense_s += [_seconds(lambda: encoder.features(image[None])) for _ in range(20)]
            windows_s.append(_seconds(lambda: [encoder.features(window) for window in one_by_one]))
            batch_s.append(_seconds(lambda: encoder.features(windows)))
    dense_ms, windows_ms, batch_ms = (float(np.median(values)) * 1e3 for values in (dense_s, windows_s, batch_s))
    return {
        "ms_p50": round(dense_ms, 3),
        "per_window_ms_p50": round(windows_ms, 2),
        "ratio": round(windows_ms / dense_ms, 2),
        "one_batch_ms_p50": round(batch_ms, 2),
        "one_batch_ratio": round(batch_ms / dense_ms, 2),
        "max_abs_difference": float(difference),
    }


def _times(engine: Engine, pictures: Sequence[NDArray[np.uint8]]) -> list[float]:
    return [_seconds(partial(engine.infer, picture)) for picture in pictures]


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    values = np.percentile(seconds, [50, 95, 99]) * 1e3
    return {name: round(float(value), 3) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}


def _peak_rss_mb() -> float:
    """Return the peak resident memory of this process; ``getrusage`` would include its parent's before the fork."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1e3
    raise RuntimeError("no VmHWM in /proc/self/status")
