"""GradCAM of a head in closed form: the positions that raise an image-level score (CutPaste, section 4.2).

The image-level model pools its last feature map ``A``, ``[n, c, h, w]``, to ``p``, the mean over the positions; a head
scores ``f = P^T u``, where ``u`` is ``p``, or ``p / |p|`` with L2 normalisation, and gives its gradient ``ds/df``.  By
the chain rule ``ds/du = P ds/df``, and through the normalisation ``ds/dp = (ds/du - (ds/du . u) u) / |p|``.  As pooling
is a mean, the gradient with respect to ``A`` is ``ds/dp / (h w)`` at every position, so that GradCAM's weights, its
means over the positions, need no automatic differentiation and export like any other product of matrices.

The paper names neither the quantity that it differentiates nor the layer; the score and the last map are our reading.

What the numbers mean: with ``g = ds/dp``, ``g . A(x) / (h w)`` is what ``s`` gains, to first order, when the
activations of position ``x`` grow in proportion.  Its mean over the positions is ``g . p / (h w)``: zero with
normalisation, here or in the head, as length does not count then.  Without, it is taken off, so that a map shows where
the score is raised more than elsewhere.  A linear head on ReLU features needs that: all of them lower its score, and
plain GradCAM would be empty.  For a Gaussian, ``s = |z|^2`` with ``z = W (P^T p - mean)``, ``s + g . (A(x) - p) / 2``
is the exact share of a position in the score: the product of ``z`` with the position's own ``W (P^T A(x) - mean)``,
whose mean over the positions is ``s``.  These shares are no map to hold against the threshold, though, as their peaks
are far above their mean in good parts too.  Hence :func:`peak_at`.
"""

from __future__ import annotations

from torch import Tensor

from trainer.heads.base import Head

_TINY = 1e-12


def l2_normalise(features: Tensor) -> Tensor:
    """Divide by the Euclidean norm along the last axis; zeros stay zeros."""
    return features / _norm(features)


def l2_pullback(features: Tensor, gradient: Tensor) -> Tensor:
    """The gradient with respect to ``features``, from the one with respect to their :func:`l2_normalise`."""
    unit = l2_normalise(features)
    along = (gradient * unit).sum(-1, keepdim=True)
    return (gradient - along * unit) / _norm(features)


def grad_cam(feature_map: Tensor, projection: Tensor, head: Head, normalise: bool) -> Tensor:
    """GradCAM of the score: ``max(0, sum over c of weight_c A_c)``, where a weight is the mean gradient of a channel,
    less the mean of that sum over the positions.

    Args:
        feature_map: the encoder's last, ``[n, c, h, w]``.
        projection: ``[c, d]``.
        head: on a grid of one position.
        normalise: whether pooled features are L2-normalised before the projection.

    Returns:
        ``[n, h, w]``, not negative, and zero all over only where all positions are alike.
    """
    pooled = feature_map.mean((2, 3))
    unit = l2_normalise(pooled) if normalise else pooled
    projected = (unit @ projection)[:, None, None]
    gradient = head.gradient(projected)[:, 0, 0] @ projection.transpose(0, 1)
    if normalise:
        gradient = l2_pullback(pooled, gradient)
    positions = feature_map.shape[2] * feature_map.shape[3]
    raised = (gradient[:, :, None, None] * (feature_map - pooled[:, :, None, None])).sum(1) / positions
    return raised.clamp_min(0)


def peak_at(maps: Tensor, scores: Tensor) -> Tensor:
    """Scale maps so that the highest value of each is its image's score: then a map that is not zero exceeds the
    threshold somewhere if and only if its image does, like the maps of patch models.

    A map that was upsampled must be scaled afterwards, as smoothing lowers peaks.

    Args:
        maps: ``[n, h, w]``, not negative; one that is zero all over stays so.
        scores: ``[n]``, not negative.
    """
    return maps * (scores.view(-1, 1, 1) / maps.amax((1, 2), keepdim=True).clamp_min(_TINY))


def _norm(features: Tensor) -> Tensor:
    return features.square().sum(-1, keepdim=True).sqrt().clamp_min(_TINY)
