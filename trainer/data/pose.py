"""The pose description of a set of good images: whether their parts can be turned to one pose, and its limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.part import Part
from edge_occ.bundle.pose import NoPose, Pose, find_in

SIDE = 256
"""Minimum shorter side in pixels of the halved frames in which parts are searched."""

MIN_LENGTH = 128
"""Minimum length in pixels of a part in these frames, so that a pixel of its outline turns it by less than a degree."""

CONTRASTS = (0.5, 0.6, 0.7, 0.8)
"""Shares of a part's mean contrast that its outline may lie at.  Half-way is common; a shadow needs more, a part of
several colours less."""

AGREEMENT = 0.01
"""Difference of outlines that does not count, as a share of their size: the lowest such contrast is taken."""

MIN_POSED = 2 / 3
"""A pose is given up if this share of the good images, or less, has one."""

MIN_ELONGATION = 0.1
"""Minimum elongation of good parts that have an axis: a tenth longer than wide.  MVTec pill has .37, bottle .01."""

MIN_SKEWNESS = 0.02
"""Minimum skewness of good parts whose ends differ: the outlines of symmetric ones have some .002 from noise."""

CERTAIN = 3.0
"""Minimum ratio of the median skewness and its deviation.  Skewness has no sign here, so that noise alone has 1.1."""

MIN_TURN = 10.0
"""Minimum circular standard deviation in degrees of parts that lie in several directions; placed ones have 1 or 2."""

AREA, FADING, TAPER = 0.25, 0.5, 0.25
"""Smallest area, elongation and skewness of an inspected part, as shares of the medians of the good ones."""

OUTLIER = 1.25
"""Good parts longer or wider than so many times the median do not enlarge the cut-out: parts that touch each other."""

MARGIN = 1 / 16
"""Margin of the cut-out on each side, as a share of the longest part."""


@dataclass(frozen=True)
class PoseFit:
    """The pose description of good images.

    Attributes:
        pose: ``None`` if the parts have none.
        varies: whether the parts lie in several directions.
        reason: why there is no pose, or what it was found on; a phrase.
        missing: position and outcome of each image without a pose, if there is one.
    """

    pose: Pose | None
    varies: bool
    reason: str
    missing: tuple[tuple[int, NoPose], ...] = ()

    @property
    def worthwhile(self) -> bool:
        """True if turning is of use and leaves no doubt: parts with different ends that lie in several directions."""
        return self.pose is not None and self.pose.skewness is not None and self.varies


def pose_of(images: Iterable[NDArray[np.uint8]]) -> PoseFit:
    """Fit a pose to good images, which are read once.

    Args:
        images: uint8 ``[h, w, 3]`` BGR, one part each before a plain ground where there is a pose; not none at all.
    """
    stream = iter(images)
    first = list(islice(stream, 8))
    side = _side(first)
    measured = [[find_in(image, side, contrast) for contrast in CONTRASTS] for image in chain(first, stream)]
    count = len(measured)
    candidates = [(contrast, [row[i] for row in measured]) for i, contrast in enumerate(CONTRASTS)]
    best = min(_disagreement(parts) for _, parts in candidates)
    contrast, parts = next(pair for pair in candidates if _disagreement(pair[1]) <= best + AGREEMENT)
    found = [part for part in parts if part is not None]
    if len(found) <= MIN_POSED * count:
        return PoseFit(None, False, f"{count - len(found)} of {count} images show no part before a plain ground")
    elongation = _median(found, "elongation")
    if elongation < MIN_ELONGATION:
        return PoseFit(None, False, f"the parts are round: their elongation is {elongation:.2f}")
    pose = _fitted(found, side, contrast, elongation)
    missing, angles = [], []
    for index, part in enumerate(parts):
        try:
            place = pose.place(part)
        except NoPose as outcome:  # noqa: PERF203 - each image has an outcome
            missing.append((index, outcome))
        else:
            angles.append(complex(place.cos, place.sin) ** (1 if pose.skewness else 2))
    if count - len(missing) <= MIN_POSED * count:
        usual = max({o.outcome for _, o in missing}, key=lambda kind: sum(o.outcome is kind for _, o in missing))
        return PoseFit(None, False, f"{len(missing)} of {count} images have none, mostly: {usual.value}")
    varies = _deviation(angles) / (1 if pose.skewness else 2) >= MIN_TURN
    ends = "different ends" if pose.skewness else "ends that are alike"
    directions = "several directions" if varies else "one direction"
    return PoseFit(pose, varies, f"parts with {ends} lie in {directions}", tuple(missing))


def _side(images: Sequence[NDArray[np.uint8]]) -> int:
    """Return the side of the frames to search in: larger ones where parts are small and frames allow it."""
    side = SIDE
    frame = min(min(image.shape[:2]) for image in images)
    found = [part for part in (find_in(image, side, CONTRASTS[0]) for image in images) if part is not None]
    if not found:
        return side
    length = _median(found, "length")
    while 2 * side <= frame and length * 2 * side / frame <= 2 * MIN_LENGTH:
        side *= 2
    return side


def _fitted(found: Sequence[Part], side: int, contrast: float, elongation: float) -> Pose:
    skewness = _median(found, "skewness")
    noise = 1.4826 * float(np.median([abs(part.skewness - skewness) for part in found]))
    length, width = (_largest([getattr(part, name) for part in found]) for name in ("length", "width"))
    margin = math.ceil(MARGIN * length)
    return Pose(
        height=max(16, math.ceil(width) + 2 * margin),
        width=max(16, math.ceil(length) + 2 * margin),
        side=side,
        contrast=contrast,
        area=AREA * _median(found, "area"),
        elongation=FADING * elongation,
        skewness=TAPER * skewness if skewness >= max(MIN_SKEWNESS, CERTAIN * noise) else None,
    )


def _disagreement(parts: Sequence[Part | None]) -> float:
    """Return by how much the outlines of good parts differ in size: mean deviations of the logarithms, summed."""
    found = [(part.length, part.width, part.area) for part in parts if part is not None]
    if 2 * len(found) <= len(parts):
        return math.inf
    sizes = np.log(found)
    return float(np.abs(sizes - np.median(sizes, axis=0)).mean(axis=0).sum())


def _median(parts: Sequence[Part], name: str) -> float:
    return float(np.median([getattr(part, name) for part in parts]))


def _largest(sizes: Sequence[float]) -> float:
    limit = OUTLIER * float(np.median(sizes))
    return max(size for size in sizes if size <= limit)


def _deviation(angles: Sequence[complex]) -> float:
    """Return the circular standard deviation in degrees of angles, given as numbers of absolute value 1."""
    return math.degrees(math.sqrt(max(0.0, -2 * math.log(max(float(abs(np.mean(angles))), 1e-12)))))
