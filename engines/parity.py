"""The parity gate: an engine runs only if its scores of the golden frames are the trainer's, within a tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.base import Engine
from engines.errors import ParityFailure

TOLERANCE = {"fp32": 1e-3, "fp16": 3e-2, "int8": 2e-1}
"""Largest relative error of scores and map values at the parity gate, which no bundle may exceed: a wider gate would
accept another computation.  The head multiplies rounding by the square of the whitening's condition.  fp32: ONNX
Runtime on x86-64 was seen within 2e-6 (scores) and 3e-5 (maps) of torch, other runtimes need room.  fp16: within 3e-3
of fp32 on real images.  int8 is compared with ONNX Runtime's int8: a sum that is rounded the other way moves a feature
by a step.  OpenCV was seen 8e-2 from it; OpenVINO 3 on one of two bundles, which is another computation; ONNX Runtime
on Arm, where sums of fp16 are rounded to fp16, 1.1e-1."""

_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Golden:
    """Reference frames, with the trainer's scores and maps.

    Attributes:
        frames: uint8 ``[h, w, 3]`` BGR each.
        scores: float32 ``[n]``.
        maps: float32 ``[n, rows, columns]``.
        threshold: the calibrated threshold, for the verdicts.
    """

    frames: Sequence[NDArray[np.uint8]]
    scores: NDArray[np.float32]
    maps: NDArray[np.float32]
    threshold: float


@dataclass(frozen=True)
class Parity:
    """Errors of an engine against the reference.

    Attributes:
        score_error: largest error of an image score, see :func:`relative_error`.
        map_error: largest error of a map value, relative to the largest value of its map or, where that is larger, to
            the threshold: what differs far below it changes no verdict and no heatmap.
        flipped: verdicts that differ although the reference score is not within tolerance of the threshold.
        frames: golden frames compared.
    """

    score_error: float
    map_error: float
    flipped: int
    frames: int


def relative_error(found: float, wanted: float, threshold: float) -> float:
    """Return the error of an image score, relative to the larger of the score and the threshold.

    A head that keeps features of good parts scores their own frames with 0, up to the rounding of each runtime.
    """
    return abs(found - wanted) / max(abs(wanted), threshold, _TINY)


def measure_parity(engine: Engine, golden: Golden, tolerance: float) -> Parity:
    """Score the golden frames and compare."""
    score_error = map_error = 0.0
    flipped = 0
    for frame, score, reference in zip(golden.frames, golden.scores, golden.maps, strict=True):
        found = engine.infer(frame)
        # A graph that yields NaN must fail, and NaN compares false with everything; so must a map of another size.
        if found.map.shape != reference.shape or not (np.isfinite(found.score) and np.isfinite(found.map).all()):
            return Parity(float("inf"), float("inf"), len(golden.frames), len(golden.frames))
        score_error = max(score_error, relative_error(found.score, float(score), golden.threshold))
        scale = max(float(np.abs(reference).max()), golden.threshold, _TINY)
        map_error = max(map_error, float(np.abs(found.map - reference).max()) / scale)
        close_call = abs(float(score) - golden.threshold) <= tolerance * golden.threshold
        flipped += not close_call and (found.score > golden.threshold) != (float(score) > golden.threshold)
    return Parity(score_error, map_error, flipped, len(golden.frames))


def require_parity(engine: Engine, golden: Golden, tolerance: float) -> Parity:
    """Compare, and refuse an engine that is out of tolerance.

    Args:
        engine: loaded with the bundle's graph.
        golden: frames and reference.
        tolerance: largest relative error allowed, of image scores and of map values.

    Raises:
        ParityFailure: with the numbers.
    """
    parity = measure_parity(engine, golden, tolerance)
    if max(parity.score_error, parity.map_error) > tolerance or parity.flipped:
        raise ParityFailure(
            f"scores of {parity.frames} golden frames within {tolerance:.1e} of the reference",
            f"score error {parity.score_error:.1e}, map error {parity.map_error:.1e}, "
            f"{parity.flipped} verdicts flipped with engine {engine.name} {engine.precision}",
            "do not use it here; 'edge-occ verify BUNDLE' on another machine shows whether bundle or engine is wrong",
        )
    return parity
