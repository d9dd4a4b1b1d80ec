"""The Engine protocol: a bundle's graph, ready to score frames on this machine.

The graph maps the raw camera frame and the tensors of the one-class head to the image score, the score map and the
features that the head works on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.errors import GraphRefused

FRAME = "frame"
"""Graph input: the camera frame, uint8 ``[height, width, 3]`` in BGR order, of any size up to
:data:`engines.frame.MAX_PIXELS`."""

MEAN, WHITENING = "mean", "whitening"
"""Graph inputs: the mean that is subtracted from features, float32 ``[rows, columns, d]``, and the matrices that the
differences are multiplied by, ``[rows, columns, k, d]``; one row and column if shared.  Of lower triangular matrices
there may be three quarters, upper left, lower left and lower right, ``[rows, columns, 3, d / 2, d / 2]``."""

LOG_MEAN, LOG_DEVIATION = "log_mean", "log_deviation"
"""Graph inputs: mean and deviation of ``log(1 + score)`` of normal images by which a Gaussian's scores are
standardised, float32, one a position: the shape of the scores."""

REFERENCES, WEIGHTS, GAMMA, OFFSET = "references", "weights", "gamma", "offset"
"""Graph inputs: features of good parts, float32 ``[k, d]``; the weight of each or of each of the nearest, ``[k]``, or
the normal of a plane ``[d]``; the kernel's factor of squared distances ``[1]``; the offset of the plane ``[1]``."""

HEADS: Mapping[str, tuple[str, ...]] = {
    "gaussian": (MEAN, WHITENING),
    "gaussian-standardised": (MEAN, WHITENING, LOG_MEAN, LOG_DEVIATION),
    "kde": (MEAN, REFERENCES, GAMMA),
    "ocsvm": (MEAN, REFERENCES, WEIGHTS, GAMMA),
    "ocsvm-linear": (MEAN, WEIGHTS, OFFSET),
    "nearest": (MEAN, REFERENCES),
    "knn": (MEAN, REFERENCES, WEIGHTS),
}
"""Kinds of heads, with the inputs of each."""

SCORE_WEIGHTS, MAP_WEIGHTS = "score_weights", "map_weights"
"""Graph inputs where there are several heads: float32 ``[heads]``, factors of their scores and maps, which are then
added."""

SCORE, MAP, FEATURES = "score", "map", "features"
"""Graph outputs: float32 ``[1]``, ``[height, width]`` of the resized frame, and ``[rows, columns, d]`` for each
branch."""

IMAGES = "images"
"""Input of the encoder graph: uint8 ``[n, height, width, 3]`` BGR, not resized; its output is :data:`FEATURES`, float32
``[n, rows, columns, d]``."""


def of_head(name: str, index: int) -> str:
    """Return the name of a tensor of head ``index``, or of the features of branch ``index``; index 0 adds nothing."""
    return name if index == 0 else f"{name}.{index}"


def feature_outputs(outputs: Iterable[str]) -> list[str]:
    """Return the names of the features among a graph's outputs, in the order of the branches."""
    there = set(outputs)
    names = (of_head(FEATURES, branch) for branch in range(len(there)))
    return [name for name in names if name in there]


def require_head(head: Mapping[str, NDArray[np.float32]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a head that does not fit a graph.

    Args:
        head: tensors by name, float32.
        shapes: shape of each tensor that the graph takes.

    Raises:
        GraphRefused: other names, shapes or types.
    """
    found = {name: value.shape if value.dtype == np.float32 else value.dtype.name for name, value in head.items()}
    if found != dict(shapes):
        raise GraphRefused(
            f"a head of float32 {_shapes_as_text(shapes)}",
            f"a head of {_shapes_as_text(found)}",
            "refit the head or train the bundle again: head and graph do not match",
        )


def _shapes_as_text(shapes: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items())) or "no tensors"


def heads_among(names: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds of the heads whose tensors have these names, in the order of the heads; other names are ignored.

    Raises:
        ValueError: there is no head, or one that lacks a tensor.
    """
    known = {name for tensors in HEADS.values() for name in tensors}
    found: dict[int, set[str]] = {}
    for name in names:
        stem, _, index = name.partition(".")
        if stem in known and (not index or index.isdecimal()):
            found.setdefault(int(index or 0), set()).add(stem)
    kinds = {frozenset(tensors): kind for kind, tensors in HEADS.items()}
    if sorted(found) != list(range(max(1, len(found)))) or not all(frozenset(of) in kinds for of in found.values()):
        raise ValueError(f"the tensors of no known head: {sorted(map(sorted, found.values()))}")
    return tuple(kinds[frozenset(found[k])] for k in range(len(found)))


@dataclass(frozen=True)
class Graph:
    """A model and its head, from which an engine is made.

    Attributes:
        onnx: the serialised ONNX model.
        precision: arithmetic of its encoder half: ``fp32``, ``fp16`` or ``int8``.
        head: values of all inputs but the frame; an engine may keep arrays that cannot be written to.
    """

    onnx: bytes
    precision: str
    head: Mapping[str, NDArray[np.float32]]


Progress = Callable[[str, float], None]
"""Called during long work with a description of the step and the fraction that is done, 0 to 1."""


def default_cache() -> Path:
    """Return ``$XDG_CACHE_HOME/edge-occ/engines``, by default below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-occ" / "engines"


@dataclass(frozen=True)
class EngineOptions:
    """Options for making an engine on this machine; each engine uses those that concern it.

    Attributes:
        threads: CPU threads inside one operator, see :func:`engines.processors.thread_count`.
        throughput: score several frames at a time on fewer threads each, where the engine can: more frames a second,
            but each takes longer; see :attr:`Engine.parallel`.
        cache: folder of built engines.
        frame: usual height and width of frames, at which a built engine is fastest.
        max_frame: largest height and width that a built engine accepts.
        driver: Python package for CUDA: ``auto`` uses pycuda if it is installed, else NVIDIA's cuda-bindings.
        memory: how frames reach the GPU: ``mapped`` lets it read page-locked host memory in place, ``copy`` copies;
            ``auto`` maps where host and GPU share their memory, as on a Jetson.
        spin: wait for the GPU with a busy processor, which saves some microseconds a frame.
    """

    threads: int | None = None
    throughput: bool = False
    cache: Path = field(default_factory=default_cache)
    frame: tuple[int, int] = (256, 256)
    max_frame: tuple[int, int] = (1200, 1920)
    driver: Literal["auto", "pycuda", "cuda-bindings"] = "auto"
    memory: Literal["auto", "mapped", "copy"] = "auto"
    spin: bool = False


@dataclass(frozen=True)
class Scores:
    """Score and score map of one frame; higher is more anomalous.

    Attributes:
        score: image score, in the units of the heads, at least 0.
        map: score of each pixel of the resized frame, float32 ``[rows, columns]``, same units.
    """

    score: float
    map: NDArray[np.float32]


class Engine(Protocol):
    """A graph and a head that score frames; used by one thread at a time, but for :attr:`parallel`."""

    @property
    def name(self) -> str:
        """The runtime, for instance ``cpu``."""

    @property
    def detail(self) -> str:
        """The runtime's version and the device it computes on, as text."""

    @property
    def precision(self) -> str:
        """Arithmetic of the encoder: ``fp32``, ``fp16`` or ``int8``."""

    @property
    def parallel(self) -> int:
        """Number of threads that may call :meth:`infer` at the same time, and that together score most frames."""

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, uint8 ``[height, width, 3]`` BGR.

        Raises:
            FrameRefused: see :func:`engines.frame.require_frame`.
        """

    def features(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the features that the heads work on, float32 ``[rows, columns, d]`` for each branch.

        Raises:
            FrameRefused: as :meth:`infer`.
        """

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace all tensors of the head, without a rebuild; frames are scored with it from the next one on.

        Args:
            head: the names and shapes of the head that the engine was opened with; arrays that can be written to are
                copied.

        Raises:
            GraphRefused: other names, shapes or types; the engine keeps its head.
        """

    def close(self) -> None:
        """Free everything; the engine cannot be used afterwards."""
