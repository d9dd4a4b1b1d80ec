"""The members of a bundle that hold tensors: heads, golden frames, reference scores; all safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from edge_occ.errors import BundleRefused
from engines.base import HEADS, Graph, heads_among
from engines.parity import Golden

_HELD_OUT = "held_out_scores"


def head_member(head: Mapping[str, NDArray[np.float32]], held_out: NDArray[np.float64]) -> bytes:
    """Serialise the graph's inputs beside the frame, and the calibration scores behind the threshold."""
    return _save({**head, _HELD_OUT: held_out})


def golden_member(golden: Golden) -> bytes:
    """Serialise golden frames, which may differ in size, and their reference scores and maps."""
    frames = {f"frame.{i}": frame for i, frame in enumerate(golden.frames)}
    return _save({**frames, "scores": golden.scores, "maps": golden.maps})


def reference_member(golden: Golden) -> bytes:
    """Serialise reference scores and maps without the frames."""
    return _save({"scores": golden.scores, "maps": golden.maps})


def head_from(head: bytes) -> dict[str, NDArray[np.float32]]:
    """The head of a :func:`head_member`, as an engine takes it.

    Raises:
        BundleRefused: it is damaged, or holds the tensors of no head that is known.
    """
    tensors = _tensors(head, {_HELD_OUT})
    try:
        heads_among(tensors)
    except ValueError as error:
        raise refused(f"the tensors of heads of the kinds {', '.join(HEADS)}", str(error)) from error
    return {name: tensor for name, tensor in tensors.items() if name != _HELD_OUT}


def graph_from(onnx: bytes, precision: str, head: bytes) -> Graph:
    """A model and the head of a :func:`head_member`."""
    return Graph(onnx, precision, head_from(head))


def golden_from(data: bytes, threshold: float, own: bytes | None = None) -> Golden:
    """The golden frames of a :func:`golden_member`; the reference is that of ``own``, :func:`reference_member`, if
    given.
    """
    tensors = _tensors(data, {"scores", "maps"})
    names = [f"frame.{i}" for i in range(len(tensors["scores"]))]
    results = tensors if own is None else _tensors(own, {"scores", "maps"})
    if not names or set(names) - set(tensors) or {len(results[key]) for key in ("scores", "maps")} != {len(names)}:
        raise refused("a frame and a map for each golden score", f"{sorted(tensors)}")
    frames = [tensors[name] for name in names]
    return Golden(frames, results["scores"], results["maps"], threshold)


def held_out_from(head: bytes) -> NDArray[np.float64]:
    """The calibration scores of a :func:`head_member`."""
    scores: NDArray[np.float64] = _tensors(head, {_HELD_OUT})[_HELD_OUT]
    return scores


def refused(expected: str, found: str) -> BundleRefused:
    """What is said of a bundle that is damaged or was put together wrongly."""
    return BundleRefused(expected, found, "copy the bundle again from where it was made, or train it anew")


def _tensors(data: bytes, needed: set[str]) -> dict[str, NDArray[Any]]:
    try:
        tensors: dict[str, NDArray[Any]] = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise refused("tensors in safetensors format", str(error)) from error
    if needed - set(tensors):
        raise refused(f"the tensors {sorted(needed)}", f"{sorted(tensors)}")
    return tensors


def _save(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    # safetensors writes the memory of an array as it lies and forgets its strides.
    return safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
