"""Consistency of a bundle's members: a threshold that follows from the held-out scores, golden frames with which a
wrong computation differs from a right one, a head with effect, and graphs of known operators and bounded cost.

Hashes only show that a file is complete.  These checks find mistakes and traps but not forgery: a bundle is not signed,
and a careful forger can make one that never raises an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.graphs.check import check_encoder_graph, check_inspection_graph
from edge_occ.bundle.graphs.wire import Malformed
from edge_occ.bundle.manifest import Calibration, Geometry
from edge_occ.bundle.tensors import refused
from edge_occ.common.size import Size, size_in_words
from engines.base import GAMMA, MAP_WEIGHTS, REFERENCES, SCORE_WEIGHTS, WEIGHTS, WHITENING
from engines.parity import Golden

_HIGHEST = 1000.0
"""Largest ratio of the threshold to the highest golden score.  Some golden frames have a conspicuous defect, so that
the trainer's bundles are near 1 or far below; with a threshold out of reach no frame would be anomalous."""

_ROUNDING = 1e-9

_GAIN = {WHITENING, REFERENCES, WEIGHTS, GAMMA, SCORE_WEIGHTS, MAP_WEIGHTS}
"""Tensors of a head that must not be zero throughout, or every frame would get the same score."""

_POSITIVE = {GAMMA, SCORE_WEIGHTS, MAP_WEIGHTS}
"""Tensors of a head without negative values."""


def check_calibration(calibration: Calibration, held_out: NDArray[np.float64]) -> None:
    """Check that threshold and guarantee follow from the held-out scores, float64 ``[n]``.

    Raises:
        BundleRefused: they do not.
    """
    if held_out.min() < 0 or calibration.threshold <= 0:
        raise refused(
            "held-out scores of at least 0 and a threshold above it",
            f"{held_out.min():.3g} and {calibration.threshold:.3g}",
        )
    expected = calibrate(held_out, calibration.false_alarm_rate).model_dump()
    for name, found in calibration.model_dump().items():
        if not math.isclose(found, expected[name], rel_tol=_ROUNDING):
            raise refused(f"{name} {expected[name]:.6g}, which follows from the held-out scores", f"{found:.6g}")


def check_head(head: Mapping[str, NDArray[np.float32]]) -> None:
    """Check that a head's values can give frames different scores.

    Raises:
        BundleRefused: they cannot, or are not finite.
    """
    for name, tensor in head.items():
        kind = name.partition(".")[0]
        if not np.isfinite(tensor).all() or (kind in _POSITIVE and tensor.min() < 0):
            raise refused(f"a head's {name} of finite numbers in their range", "others")
        # A per-position whitening must have an effect at every position.
        each = tensor.any(axis=(-2, -1)) if kind == WHITENING and tensor.ndim > 2 else tensor.any()
        if kind in _GAIN and not np.all(each):
            raise refused(f"a head's {name} that is not zero", "zeros, by which no frame could be anomalous")


def check_golden(golden: Golden, size: Size) -> None:
    """Check that golden frames can reveal a wrong computation.

    Args:
        golden: frames and a precision's reference.
        size: height and width of the score maps.

    Raises:
        BundleRefused: they cannot.
    """
    if golden.maps.shape != (len(golden.frames), *size):
        raise refused(f"golden maps of {size_in_words(size)} pixels", f"the shape {golden.maps.shape}")
    for name, values in (("scores", golden.scores), ("maps", golden.maps)):
        if not np.isfinite(values).all() or values.min() < 0:
            raise refused(f"golden {name} that are finite and at least 0", "others")
    if golden.scores.min() == golden.scores.max():
        raise refused("golden scores that differ from frame to frame", f"{golden.scores.max():.3g} throughout")
    if golden.threshold > _HIGHEST * golden.scores.max():
        raise refused(
            "a threshold that frames can reach",
            f"{golden.threshold:.3g}; golden scores up to {golden.scores.max():.3g}",
        )


def check_graph(
    name: str, onnx: bytes, head: Mapping[str, NDArray[np.float32]], golden: Golden, size: Size
) -> tuple[tuple[int, ...], ...]:
    """Check that a graph has known operators only, fits the head, and has a bounded cost.

    Args:
        name: of the member.
        onnx: the graph from frame to score.
        head: the graph's inputs other than the frame.
        golden: the frames of the parity gate.
        size: height and width of the score maps.

    Returns:
        Shapes of the branches' features, ``[rows, columns, d]`` each.

    Raises:
        BundleRefused: it does not.
    """
    frames = [(frame.shape[0], frame.shape[1]) for frame in golden.frames]
    with _named(name):
        return check_inspection_graph(onnx, {key: tensor.shape for key, tensor in head.items()}, frames, size)


def check_encoder(name: str, onnx: bytes, geometry: Geometry, features: Sequence[tuple[int, ...]]) -> None:
    """Check the encoder's own graph in the same way.

    Args:
        name: of the member.
        onnx: the graph from images to features.
        geometry: the branch of the encoder, and its grid.
        features: shapes of the features of all branches.

    Raises:
        BundleRefused: it has unknown operators, belongs to another encoder, or costs too much.
    """
    with _named(name):
        own = features[geometry.branch] if geometry.branch < len(features) else ()
        if not geometry.exact or own[:2] != geometry.grid:
            raise Malformed(f"features {own}, which are not those of the grid {geometry.grid}")
        check_encoder_graph(onnx, geometry.window, geometry.size, own)


@contextmanager
def _named(member: str) -> Iterator[None]:
    try:
        yield
    except Malformed as error:
        raise refused(f"{member} of operators and sizes that edge-occ writes", str(error)) from error
