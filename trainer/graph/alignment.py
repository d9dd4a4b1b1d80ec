"""Alignment: the degree to which parts lie in the same place, from the features of normal images."""

from __future__ import annotations

from torch import Tensor


def alignment(features: Tensor) -> float:
    """Return the share of the features' variance that the position explains.

    Args:
        features: ``[n, rows, columns, d]``.

    Returns:
        0 (any pose, or a texture) to 1 (all images alike).
    """
    of_positions = features.mean(0).var((0, 1), correction=0)
    return float((of_positions / features.var((0, 1, 2), correction=0).clamp_min(1e-12)).mean())
