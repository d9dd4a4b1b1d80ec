"""The mask of a run: the drawn part of a camera's frame that can make it anomalous, without a new training."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.drawn_region import DrawnRegion, at_size
from edge_occ.common.errors import InputError
from edge_occ.common.size import Size, size_in_words
from edge_occ.inspection.roi import Roi
from edge_occ.sources.faults import Reason, Unscored, one_line
from engines.base import Scores
from engines.limits import MAX_PIXELS

Pixels = NDArray[np.bool_]
Weights = NDArray[np.float32]


def limited(scores: Scores, inside: Weights) -> Scores:
    """Return what is left of a frame's scores where only a part of it counts.

    A score can only fall.  So at most as many good parts are above a threshold as without the mask, and the promised
    rate of false alarms stays an upper bound, though the scores of the calibration are those of whole frames.

    Args:
        scores: of the frame.
        inside: 1 for each value of the map that counts, and 0 for the others.

    Returns:
        The score, or the highest value of the map inside if that is lower, at least 0; and the map, 0 outside.
    """
    # A product takes 20 microseconds for 256 x 256 values; a choice by truth values up to a thousand.
    score_map = scores.map * inside
    return Scores(min(scores.score, max(0.0, float(score_map.max()))), score_map)


@dataclass(frozen=True)
class Mask:
    """A drawn region of a camera's frames; two are equal if they inspect the same.

    Attributes:
        region: as it was drawn, in pixels of the whole frame.
        roi: the rectangle of the frame that is scored, to which the region is cropped; ``None``: the whole frame.

    Raises:
        InputError: nothing is inspected, whatever size frames have.
    """

    region: DrawnRegion
    roi: Roi | None = None
    _latest: dict[tuple[Size, Size], Weights] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        polygons = self.region.polygons
        if polygons is not None and not polygons.inspect and self.roi is None:
            return  # what lies beyond all corners is inspected; only a frame shows whether there is anything
        rows, columns = self.region.size
        if self.roi is not None and polygons is not None:
            rows, columns = max(rows, self.roi.y + self.roi.height), max(columns, self.roi.x + self.roi.width)
        if rows * columns > MAX_PIXELS:
            raise InputError(
                f"a mask in frames of at most {MAX_PIXELS / 1e6:g} million pixels",
                f"{size_in_words((rows, columns))} in {self.region.path}",
                "correct the corners of the mask, or roi",
            )
        self.require_fit((rows, columns))

    def require_fit(self, frame: Size) -> None:
        """Refuse a mask that cannot be used for frames of a size.

        Args:
            frame: height and width of the whole frame in pixels.

        Raises:
            InputError: it is a picture of another size, a corner lies outside, or nothing is inspected.
        """
        self._require_pixels(self._pixels(frame))

    def limit(self, scores: Scores, frame: Size) -> Scores:
        """Return the scores of a frame within the mask; see :func:`limited`.

        Args:
            scores: of the frame, or of its rectangle.
            frame: height and width of the whole frame in pixels.

        Raises:
            Unscored: the mask does not fit, see :meth:`require_fit`, or nothing is left of it in the map.
        """
        rows, columns = scores.map.shape
        key = frame, (rows, columns)
        inside = self._latest.get(key)
        if inside is None:
            try:
                pixels = at_size(self._pixels(frame), (rows, columns))
                self._require_pixels(pixels)
            except InputError as error:
                raise Unscored(Reason.FRAME, one_line(error), error) from error
            inside = pixels.astype(np.float32)
            self._latest.clear()  # frames of one camera have one size
            self._latest[key] = inside
        return limited(scores, inside)

    def _pixels(self, frame: Size) -> Pixels:
        misfit = self.region.misfit(frame)
        if misfit is not None:
            raise InputError(
                f"a mask that fits frames of {size_in_words(frame)} pixels", misfit, "draw it on a frame of this camera"
            )
        pixels = self.region.pixels(frame)
        return pixels if self.roi is None else self.roi.within(pixels)

    def _require_pixels(self, pixels: Pixels) -> None:
        if pixels.any():
            return
        where = "" if self.roi is None else " in roi"
        advice = "draw a larger one" if self.roi is None else "correct mask or roi: both are in pixels of the frame"
        raise InputError(f"a mask with something to inspect{where}", f"nothing in {self.region.path}", advice)
