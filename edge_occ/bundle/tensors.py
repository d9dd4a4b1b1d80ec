"""The members of a bundle that hold tensors: heads, golden frames, reference scores; all safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from edge_occ.common.errors import BundleRefused
from engines.base import HEADS, Graph, heads_among
from engines.parity import Golden

_HELD_OUT = "held_out_scores"

_MAX_HEADER = 1 << 20
"""Maximum size of a safetensors header in bytes; the trainer's need a hundred a tensor."""

_GOLDEN_SIDE = 4096
"""Pixels; the trainer crops golden frames to 1024."""


def head_member(head: Mapping[str, NDArray[np.float32]], held_out: NDArray[np.float64]) -> bytes:
    """Serialise the graph's inputs other than the frame, and the held-out scores.

    Tensors of which float16 holds every value exactly are stored in it.
    """
    return _save({**{name: _halved(value) for name, value in head.items()}, _HELD_OUT: held_out})


def _halved(values: NDArray[np.float32]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half, values) else values


def golden_member(golden: Golden) -> bytes:
    """Serialise golden frames, which may differ in size, and their reference scores and maps."""
    frames = {f"frame.{i}": frame for i, frame in enumerate(golden.frames)}
    return _save({**frames, "scores": golden.scores, "maps": golden.maps})


def reference_member(golden: Golden) -> bytes:
    """Serialise reference scores and maps without the frames."""
    return _save({"scores": golden.scores, "maps": golden.maps})


def head_from(head: bytes) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float64]]:
    """Return the head of a :func:`head_member`, as an engine takes it, and the held-out scores ``[n]``, finite.

    Nobody can write to the arrays, so that an engine need not copy them.

    Raises:
        BundleRefused: it is damaged, or holds the tensors of no head that is known, or no held-out scores.
    """
    tensors = _tensors(head, {_HELD_OUT})
    held_out = tensors.pop(_HELD_OUT)
    whole = held_out.dtype == np.float64 and held_out.ndim == 1 and held_out.size > 0
    _require(whole and bool(np.isfinite(held_out).all()), "a list of finite float64", _HELD_OUT, held_out)
    try:
        heads_among(tensors)
    except ValueError as error:
        raise refused(f"the tensors of heads of the kinds {', '.join(HEADS)}", str(error)) from error
    for name, tensor in tensors.items():
        known = tensor.dtype in (np.float16, np.float32) and tensor.size > 0
        _require(known, "a head of float16 or float32, none of it empty", name, tensor)
        tensors[name] = tensor.astype(np.float32, copy=False)
        tensors[name].flags.writeable = False
    return tensors, held_out


def graph_from(onnx: bytes, precision: str, head: bytes) -> Graph:
    """Return a graph with the head of a :func:`head_member`."""
    return Graph(onnx, precision, head_from(head)[0])


def golden_from(data: bytes, threshold: float, own: bytes | None = None) -> Golden:
    """Return the golden frames of a :func:`golden_member`; the reference is that of ``own``, a
    :func:`reference_member`, if given.

    Raises:
        BundleRefused: it is damaged, or there is not a frame, a score and a map of each.
    """
    tensors = _tensors(data, {"scores", "maps"})
    results = tensors if own is None else _tensors(own, {"scores", "maps"})
    scores, maps = results["scores"], results["maps"]
    frames = [tensors[name] for name in (f"frame.{i}" for i in range(len(tensors))) if name in tensors]
    _require(scores.dtype == np.float32 and scores.shape == (len(frames),) != (0,), "a score a frame", "scores", scores)
    _require(maps.dtype == np.float32 and maps.ndim == 3 and len(maps) == len(frames), "a map a frame", "maps", maps)
    for i, frame in enumerate(frames):
        sides = frame.shape[:2]
        whole = frame.dtype == np.uint8 and frame.shape == (*sides, 3) and 2 <= min(sides) <= max(sides) <= _GOLDEN_SIDE
        _require(whole, "golden frames of 8-bit BGR", f"frame.{i}", frame)
    return Golden(frames, scores, maps, threshold)


def refused(expected: str, found: str) -> BundleRefused:
    """Return the error for a bundle that is damaged or inconsistent."""
    return BundleRefused(expected, found, "copy the bundle again from where it was made, or train it anew")


def _require(condition: bool, expected: str, name: str, found: NDArray[Any]) -> None:
    if not condition:
        raise refused(expected, f"{name} of {found.dtype} and the shape {found.shape}")


def _tensors(data: bytes, needed: set[str]) -> dict[str, NDArray[Any]]:
    header = int.from_bytes(data[:8], "little")
    if header > _MAX_HEADER:
        raise refused("tensors in safetensors format", f"a header of {header} bytes")
    try:
        tensors: dict[str, NDArray[Any]] = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        # The others are for types that numpy does not have.
        raise refused("tensors in safetensors format", str(error)) from error
    if needed - set(tensors):
        raise refused(f"the tensors {sorted(needed)}", f"{sorted(tensors)}")
    return tensors


def _save(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    # safetensors writes the memory of an array and ignores its strides.
    return safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
