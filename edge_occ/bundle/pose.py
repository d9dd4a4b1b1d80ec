"""The pose of parts that lie in any direction or place: each is turned and centred before the graph.

The description comes from the good images (:mod:`trainer.data.pose`) and is part of the manifest.  A frame without one
whole part of their size has no pose: it is a fault, with one of the outcomes below, and never an anomaly.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_occ.bundle.cut_out import Rectangle, cut_out, halved
from edge_occ.bundle.part import Part, find_part
from edge_occ.common.size import Size
from engines.limits import MAX_PIXELS


class PoseOutcome(str, Enum):
    """Reason why a frame has no pose."""

    NO_PART = "no part"
    """Nothing lies before a plain ground."""
    SMALL = "part too small"
    """The largest part is far smaller than every good one: a fragment, or dust."""
    SEVERAL = "several parts"
    """There is another part besides the largest."""
    EDGE = "part at the edge"
    """A piece of the part lies outside the frame."""
    LARGE = "part too large"
    """It does not fit into the cut-out: parts that touch each other, or another product."""
    DIRECTION = "direction undecided"
    """The outline does not show how the part lies: it is too round, or both ends are too much alike."""


class NoPose(Exception):
    """A frame whose part cannot be turned and centred.

    Attributes:
        outcome: why.
        detail: what was found, one line.
    """

    def __init__(self, outcome: PoseOutcome, detail: str) -> None:
        super().__init__(f"{outcome.value}: {detail}")
        self.outcome, self.detail = outcome, detail


class Pose(BaseModel):
    """Parameters of finding, turning, centring and cutting out parts; lengths and areas are in pixels of the frame."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    height: int = Field(ge=16, le=65_536, description="of the cut-out, across the part's axis")
    width: int = Field(ge=16, le=65_536, description="of the cut-out, along the part's axis")
    side: int = Field(
        ge=16, le=65_536, description="frames are halved before the search as often as their shorter side keeps this"
    )
    contrast: float = Field(gt=0, lt=1, description="share of a part's mean contrast that its pixels exceed")
    area: float = Field(gt=0, description="smallest area of a part; what is smaller is a fragment, or dust")
    elongation: float = Field(ge=0, le=1, description="smallest elongation of a part whose axis is known")
    skewness: float | None = Field(
        ge=0, description="smallest skewness of a part whose direction is known; null: both ends are alike"
    )

    @model_validator(mode="after")
    def _bounded(self) -> Pose:
        if self.height * self.width > MAX_PIXELS:
            raise ValueError(f"a cut-out of {self.width} x {self.height}, more than {MAX_PIXELS} pixels")
        return self

    def place(self, part: Part | None) -> Rectangle:
        """Return the rectangle to cut out of a frame in which this part was found.

        Raises:
            NoPose: there is not one whole part that fits, or it does not show its direction.
        """
        if part is None:
            raise NoPose(PoseOutcome.NO_PART, "nothing lies before a plain ground")
        if part.area < self.area:
            raise NoPose(
                PoseOutcome.SMALL, f"the largest covers {part.area:.0f} pixels, a part at least {self.area:.0f}"
            )
        if part.next_area >= self.area:
            raise NoPose(PoseOutcome.SEVERAL, f"two of them cover {part.area:.0f} and {part.next_area:.0f} pixels")
        if part.at_edge:
            raise NoPose(PoseOutcome.EDGE, "it touches the edge of the frame")
        if part.length > self.width or part.width > self.height:
            found = f"it measures {part.length:.0f} x {part.width:.0f} pixels"
            raise NoPose(PoseOutcome.LARGE, f"{found}, the cut-out {self.width} x {self.height}")
        if part.elongation < self.elongation:
            found = f"elongation {part.elongation:.2f}"
            raise NoPose(PoseOutcome.DIRECTION, f"{found}; a part whose axis is known has {self.elongation:.2f}")
        if self.skewness is not None and part.skewness < self.skewness:
            found = f"skewness {part.skewness:.3f}"
            raise NoPose(PoseOutcome.DIRECTION, f"{found}; a part whose ends are known has {self.skewness:.3f}")
        # Where both ends are alike the axis points to the right, or straight down.
        turned = self.skewness is None and (part.cos < 0 or (part.cos == 0 and part.sin < 0))
        cos, sin = (-part.cos, -part.sin) if turned else (part.cos, part.sin)
        return Rectangle(part.x, part.y, cos, sin, self.height, self.width)


def find_in(frame: NDArray[np.uint8], side: int, contrast: float) -> Part | None:
    """Find the part in a frame that is halved as often as its shorter side keeps ``side`` pixels.

    Args:
        frame: uint8 ``[h, w, 3]``.
        side: at least 1.
        contrast: as for :func:`edge_occ.bundle.part.differing`.

    Returns:
        The part in pixels of the whole frame, as :func:`edge_occ.bundle.part.find_part`.
    """
    times = _halvings(min(frame.shape[:2]), side)
    found = find_part(halved(frame, times), contrast)
    return None if found is None else found.scaled(1 << times)


def turn(frame: NDArray[np.uint8], pose: Pose, wanted: Size) -> tuple[NDArray[np.uint8], Rectangle]:
    """Turn, centre and cut out the part of a frame.

    Args:
        frame: uint8 ``[h, w, 3]``.
        pose: of the bundle.
        wanted: height and width of the result at least, where the cut-out has as many pixels.

    Returns:
        uint8 of the size :func:`turned_size`, out of the frame halved as often, and where it lies in the frame.

    Raises:
        NoPose: see :meth:`Pose.place`.
    """
    search = _halvings(min(frame.shape[:2]), pose.side)
    halvings = _cut_out_halvings(pose, wanted)
    # Both begin with the same halvings.
    common = halved(frame, min(search, halvings))
    part = find_part(halved(common, max(0, search - halvings)), pose.contrast)
    rectangle = pose.place(None if part is None else part.scaled(1 << search))
    return cut_out(halved(common, max(0, halvings - search)), rectangle, 1 << halvings), rectangle


def turned_size(pose: Pose, wanted: Size) -> Size:
    """Return height and width of what :func:`turn` gives: both sides are halved while both keep what is wanted."""
    times = _cut_out_halvings(pose, wanted)
    return pose.height >> times, pose.width >> times


def _cut_out_halvings(pose: Pose, wanted: Size) -> int:
    return min(_halvings(pose.height, wanted[0]), _halvings(pose.width, wanted[1]))


def _halvings(pixels: int, wanted: int) -> int:
    """Number of times that a number of pixels can be halved and stay at least what is wanted."""
    return max(1, pixels // wanted).bit_length() - 1
