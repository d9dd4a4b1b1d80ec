"""What an engine is: a bundle's graph, ready to score frames on this machine.

The graph takes the raw camera frame and the tensors of the one-class head, and gives the image score and the score map.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FRAME = "frame"
"""Graph input: the camera frame, uint8 ``[height, width, 3]`` in BGR order, of any size up to
:data:`engines.frame.MAX_PIXELS`."""

MEAN, WHITENING = "mean", "whitening"
"""Graph inputs: what is subtracted from features first, float32 ``[rows, columns, d]``, and the matrices that they are
then multiplied by, ``[rows, columns, k, d]``; one row and column if shared."""

REFERENCES, WEIGHTS, GAMMA, OFFSET = "references", "weights", "gamma", "offset"
"""Graph inputs: features of good parts, float32 ``[k, d]``; what each counts ``[k]``, or each of the nearest, or the
normal of a plane ``[d]``; how fast that fades with distance ``[1]``; where the plane lies ``[1]``."""

HEADS: Mapping[str, tuple[str, ...]] = {
    "gaussian": (MEAN, WHITENING),
    "kde": (MEAN, REFERENCES, GAMMA),
    "ocsvm": (MEAN, REFERENCES, WEIGHTS, GAMMA),
    "ocsvm-linear": (MEAN, WEIGHTS, OFFSET),
    "nearest": (MEAN, REFERENCES),
    "knn": (MEAN, REFERENCES, WEIGHTS),
}
"""Kinds of heads, and the inputs that each has."""

SCORE_WEIGHTS, MAP_WEIGHTS = "score_weights", "map_weights"
"""Graph inputs where there are several heads: float32 ``[heads]``, what their scores and maps are multiplied by before
they are added."""

SCORE, MAP, FEATURES = "score", "map", "features"
"""Graph outputs: float32 ``[1]``, ``[height, width]`` of the resized frame, and ``[rows, columns, d]`` for each
branch."""

IMAGES = "images"
"""Input of the encoder graph: uint8 ``[n, height, width, 3]`` BGR, not resized; its output is :data:`FEATURES`, float32
``[n, rows, columns, d]``."""


def of_head(name: str, index: int) -> str:
    """The name of a further head's tensors, or of a further branch's features: the first has the plain name."""
    return name if index == 0 else f"{name}.{index}"


def heads_among(names: Iterable[str]) -> tuple[str, ...]:
    """The kinds of the heads whose tensors have these names, in the order of the heads; other names do not count.

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
        raise ValueError(f"the tensors of no head that is known: {sorted(map(sorted, found.values()))}")
    return tuple(kinds[frozenset(found[k])] for k in range(len(found)))


@dataclass(frozen=True)
class Graph:
    """What an engine is made from.

    Attributes:
        onnx: the serialised ONNX model.
        precision: arithmetic of its encoder half: ``fp32``, ``fp16`` or ``int8``.
        head: values of all other inputs than the frame.
    """

    onnx: bytes
    precision: str
    head: Mapping[str, NDArray[np.float32]]


Progress = Callable[[str, float], None]
"""Told of long work: what is being done, in words, and how much of it is done, 0 to 1."""


def default_cache() -> Path:
    """``$XDG_CACHE_HOME/edge-occ/engines``, by default below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-occ" / "engines"


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is to be made on this machine; each engine takes what concerns it.

    Attributes:
        threads: CPU threads inside one operator, see :func:`engines.processors.thread_count`.
        cache: folder for engines that are built here.
        frame: usual height and width of frames; engines that are built are fastest at it.
        max_frame: largest height and width that a built engine must take.
        driver: Python access to CUDA: ``auto`` takes pycuda if it is there, else NVIDIA's cuda-bindings.
        memory: how frames reach the GPU: ``mapped`` lets it read page-locked host memory in place, ``copy`` copies;
            ``auto`` maps where host and GPU share their memory, as on a Jetson.
        typing: ``strong`` builds exactly the graph's own types; ``weak`` lets TensorRT 10 choose fp16 by itself;
            ``auto`` is strong, but before TensorRT 10.12 both are built and the faster is kept.
        spin: wait for the GPU with a busy processor, which saves some microseconds a frame.
    """

    threads: int | None = None
    cache: Path = field(default_factory=default_cache)
    frame: tuple[int, int] = (256, 256)
    max_frame: tuple[int, int] = (1200, 1920)
    driver: Literal["auto", "pycuda", "cuda-bindings"] = "auto"
    memory: Literal["auto", "mapped", "copy"] = "auto"
    typing: Literal["auto", "strong", "weak"] = "auto"
    spin: bool = False


@dataclass(frozen=True)
class Scores:
    """What the graph says of one frame; higher is more anomalous.

    Attributes:
        score: image score, in the units of the heads, at least 0.
        map: score of each pixel of the resized frame, float32 ``[rows, columns]``, same units.
    """

    score: float
    map: NDArray[np.float32]


class Engine(Protocol):
    """Scores frames; one thread at a time."""

    @property
    def name(self) -> str:
        """The runtime, say ``cpu``."""

    @property
    def detail(self) -> str:
        """The runtime's version and where it computes, for people."""

    @property
    def precision(self) -> str:
        """Arithmetic of the encoder: ``fp32``, ``fp16`` or ``int8``."""

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, uint8 ``[height, width, 3]`` BGR.

        Raises:
            FrameRefused: see :func:`engines.frame.require_frame`.
        """

    def close(self) -> None:
        """Give everything back; the engine cannot be used afterwards."""
