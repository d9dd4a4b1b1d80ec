"""Exact metrics of detection and localisation: every distinct score is a threshold; equal scores share one.

Along the ROC curve, the recall of a single defective sample rises from 0 to 1 in a straight line, from the
false-positive rate of the scores above its own to that of the scores equal or above.  The area under this line up to
any rate has a closed form, and the curve of several samples has their mean area.  So the normal samples are sorted
once, the defective ones are located among them by binary search, and no curve is built.  The same holds over the
logarithm of the rate.

The device half installs neither scikit-learn nor torch, and ``edge-occ evaluate`` needs only its packages; the tests
compare AUROC and F1 with scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""Ground truth ``[height, width]``, true where the image is defective; all false for a good image."""

ScoreMap = NDArray[np.float32]
"""Scores at the mask's resolution, ``[height, width]``; higher is more anomalous, no NaN."""


def image_auroc(defective: NDArray[np.bool_], scores: NDArray[np.floating]) -> float | None:
    """Return the area under the ROC curve of image scores; ``None`` unless there are good and defective images.

    Args:
        defective: labels ``[n]``.
        scores: image scores ``[n]``, higher is more anomalous.
    """
    if defective.all() or not defective.any():
        return None
    return float(_areas(np.sort(scores[defective]), np.sort(scores[~defective]), 1.0).mean())


def f1_max(defective: NDArray[np.bool_], scores: NDArray[np.floating]) -> float | None:
    """Return the highest F1 over all thresholds, an upper bound because the labels select the threshold.

    ``None`` unless there are good and defective images: on defects alone, a threshold below all scores has an F1 of 1.

    Args:
        defective: labels ``[n]``.
        scores: image scores ``[n]``, higher is more anomalous.
    """
    best = best_f1(defective, scores)
    return None if best is None else best[0]


def best_f1(defective: NDArray[np.bool_], scores: NDArray[np.floating]) -> tuple[float, float] | None:
    """Return the highest F1 and the lowest score that is anomalous at it; see :func:`f1_max`.

    Of several thresholds with the same F1 it is the highest.
    """
    if defective.all() or not defective.any():
        return None
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(defective[order])[last_of_ties]
    alarms = np.arange(1, len(scores) + 1)[last_of_ties]
    f1 = 2 * found / (alarms + defective.sum())
    best = int(f1.argmax())
    return float(f1[best]), float(scores[order][last_of_ties][best])


def pixel_auroc(masks: Sequence[Mask], maps: Sequence[ScoreMap]) -> float | None:
    """Return the area under the ROC curve of all pixels of all images, including good ones.

    ``None`` unless there are normal and defective pixels.
    """
    normal, defective = _sorted_normal(masks, maps), sum(int(mask.sum()) for mask in masks)
    if not len(normal) or not defective:
        return None
    pairs = zip(masks, maps, strict=True)
    return sum(float(_areas(np.sort(scores[mask]), normal, 1.0).sum()) for mask, scores in pairs) / defective


def aupro(masks: Sequence[Mask], maps: Sequence[ScoreMap], limit: float = 0.3) -> float | None:
    """Return the area under the per-region-overlap curve up to a false-positive rate, divided by it (MVTec AD).

    A region is an 8-connected component of a mask.  The false-positive rate counts the normal pixels of good and
    defective images; the overlap is the covered fraction of a region, averaged over the regions of all images.  The
    trapezoids end at ``limit``, where the curve is interpolated.

    Args:
        masks: ground truth of all images, at its own resolution.
        maps: scores of all images at the same resolution.
        limit: highest false-positive rate, in ``(0, 1]``.

    Returns:
        0 to 1; ``None`` unless there are normal and defective pixels.
    """
    normal = _sorted_normal(masks, maps)
    if not len(normal):
        return None
    overlaps = [
        float(_areas(region, normal, limit).mean())
        for mask, scores in zip(masks, maps, strict=True)
        for region in _regions(mask, scores)
    ]
    return float(np.mean(overlaps)) / limit if overlaps else None


def aupimo(
    masks: Sequence[Mask], maps: Sequence[ScoreMap], bounds: tuple[float, float] = (1e-5, 1e-4)
) -> NDArray[np.float64]:
    """Return the area under each image's overlap curve at very low false-positive rates (AUPIMO, arXiv 2401.01984).

    Each defective image has its own curve.  The overlap is the covered fraction of its mask.  The false-positive rate
    counts *normal images* only, those with an empty mask: the covered fraction of each, averaged over them.  The
    overlap is averaged over the logarithm of the rate between the bounds.

    The reference implementation (anomalib) approximates the curve by evenly spaced thresholds and trapezoids over the
    logarithm.  Here every distinct score is a threshold.  Where normal and defective pixels have equal scores, the
    curve rises in a straight line over the rate itself, as in the other metrics: unlike a line over the logarithm, it
    can begin at rate 0.

    Args:
        masks: ground truth of all images, at its own resolution.
        maps: scores of all images at the same resolution.
        bounds: lowest and highest false-positive rate, above 0, at most 1.

    Returns:
        0 to 1 for each defective image, ``[n]``, in order; usually reported as their mean.  Empty if there are none,
        or if the normal images have fewer than ``1 / bounds[0]`` pixels in total, because one pixel is then a higher
        rate than the lower bound (the reference implementation raises an error).
    """
    pairs = list(zip(masks, maps, strict=True))
    normal = [scores.ravel() for mask, scores in pairs if not mask.any()]
    if sum(map(len, normal)) * bounds[0] < 1:
        return np.empty(0)
    pixels = np.concatenate(normal)
    order = np.argsort(pixels)
    pixels = pixels[order]
    share = np.repeat([1 / (len(normal) * len(scores)) for scores in normal], [len(scores) for scores in normal])
    rate_from = np.append(np.cumsum(share[order][::-1])[::-1], 0.0)
    areas = []
    for mask, scores in pairs:
        if mask.any():
            found = np.sort(scores[mask])
            start, end = (rate_from[np.searchsorted(pixels, found, side)] for side in ("right", "left"))
            areas.append(_logarithmic_areas(start, end, bounds).mean())
    return np.array(areas, dtype=np.float64)


def _logarithmic_areas(
    start: NDArray[np.float64], end: NDArray[np.float64], bounds: tuple[float, float]
) -> NDArray[np.float64]:
    """Return each sample's area over the logarithmic axis; its line rises from ``start`` to ``end``."""
    low, high = bounds
    rise, first, last = end - start, np.clip(start, low, high), np.clip(end, low, high)
    # The integral of (rate - start) / rise over the logarithm of the rate.
    slope = np.divide(last - first - start * np.log(last / first), rise, out=np.zeros_like(rise), where=rise > 0)
    return np.asarray((slope + np.log(high / last)) / np.log(high / low), dtype=np.float64)


def _areas(found: NDArray[np.floating], normal: NDArray[np.floating], limit: float) -> NDArray[np.float64]:
    """Return the area of each defective sample between the false-positive rates 0 and ``limit``.

    Args:
        found: scores of defective samples, sorted, because neighbouring searches are much faster.
        normal: scores of normal samples, sorted, at least one.
        limit: highest false-positive rate.
    """
    n = len(normal)
    start = (n - np.searchsorted(normal, found, "right")) / n
    end = (n - np.searchsorted(normal, found, "left")) / n
    rise = end - start
    risen = np.clip(limit - start, 0, rise)
    triangle = np.divide(risen * risen, 2 * rise, out=np.zeros_like(rise), where=rise > 0)
    return np.asarray(triangle + np.maximum(limit - end, 0), dtype=np.float64)


def _sorted_normal(masks: Sequence[Mask], maps: Sequence[ScoreMap]) -> ScoreMap:
    normal = np.empty(sum(mask.size - int(mask.sum()) for mask in masks), dtype=np.float32)
    start = 0
    for mask, scores in zip(masks, maps, strict=True):
        pixels = scores[~mask]
        normal[start : start + len(pixels)] = pixels
        start += len(pixels)
    normal.sort()
    return normal


def _regions(mask: Mask, scores: ScoreMap) -> Iterator[ScoreMap]:
    """Yield the sorted scores of each connected component."""
    if not mask.any():
        return
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    label, inside = labels[mask], scores[mask]
    order = np.lexsort((inside, label))
    yield from np.split(inside[order], np.cumsum(np.bincount(label)[1:-1]))
