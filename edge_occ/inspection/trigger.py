"""Triggers: which frames of a camera that runs freely are inspected.

Without one, every frame is.  A part that passes a camera is in many frames, most of them with a piece of it; a trigger
picks the one in which it lies in its place.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_occ.inspection.roi import Roi


class TriggerConfig(BaseModel):
    """Frames that are inspected: all, or those at which a part arrives or a command asks for one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["free", "edge", "command"] = Field(
        "free", description="all frames; those at a rising edge in roi; those after the MQTT command trigger"
    )
    roi: tuple[int, int, int, int] | None = Field(
        None, description="edge: x, y, width and height of the rectangle that is watched, pixels of the frame"
    )
    low: float = Field(60, ge=0, le=255, description="edge: mean grey level of the rectangle without a part, at most")
    high: float = Field(120, ge=0, le=255, description="edge: and with one, at least")
    falling: bool = Field(False, description="edge: parts are darker than what they lie on")
    delay: int = Field(0, ge=0, le=1000, description="edge: frames from the edge to the frame that is inspected")

    @model_validator(mode="after")
    def _complete(self) -> TriggerConfig:
        if self.mode == "edge" and self.roi is None:
            raise ValueError("an edge needs roi: [x, y, width, height] to watch")
        if self.roi is not None and (min(self.roi) < 0 or min(self.roi[2:]) < 1):
            raise ValueError("roi needs x and y of at least 0, and width and height of at least 1")
        if self.low >= self.high:
            raise ValueError("low must be below high, so that noise is no edge")
        return self

    def make(self) -> Trigger | None:
        """Return the trigger of one camera; ``None`` inspects every frame."""
        if self.mode == "command":
            return CommandTrigger()
        if self.mode == "edge" and self.roi is not None:
            return EdgeTrigger(Roi(*self.roi), self.low, self.high, self.delay, falling=self.falling)
        return None


class Trigger(Protocol):
    """Picks frames; used for every frame of one camera, in order."""

    def fires(self, image: NDArray[np.uint8]) -> bool:
        """Return whether this frame is inspected, uint8 ``[height, width, 3]``.

        Raises:
            Unscored: the frame cannot be looked at.
        """


class EdgeTrigger:
    """Fires once for each part that enters a rectangle of the frame.

    Two levels make noise and slow edges harmless: the rectangle must have been without a part before it fires again.

    Args:
        roi: the rectangle.
        low: mean grey level at or below which there is no part.
        high: at or above which there is one.
        delay: frames from the edge to the one that is inspected.
        falling: parts are darker than what they lie on: ``low`` is the level of a part, ``high`` that of the ground.
    """

    def __init__(self, roi: Roi, low: float, high: float, delay: int = 0, *, falling: bool = False) -> None:
        self._roi, self._low, self._high, self._delay, self._falling = roi, low, high, delay, falling
        # Whatever lies there at the start may be the middle of a part.
        self._is_free = False
        self._due: list[int] = []

    def fires(self, image: NDArray[np.uint8]) -> bool:
        """Return whether a part entered ``delay`` frames ago."""
        level = float(self._roi.crop(image).mean())
        is_part, is_ground = level >= self._high, level <= self._low
        if self._falling:
            is_part, is_ground = is_ground, is_part
        self._due = [frames - 1 for frames in self._due]
        if self._is_free and is_part:
            self._due.append(self._delay)
            self._is_free = False
        elif is_ground:
            self._is_free = True
        if self._due and self._due[0] == 0:
            self._due.pop(0)
            return True
        return False


class CommandTrigger:
    """Fires at the first frame after each request, which must come in the thread that inspects."""

    def __init__(self) -> None:
        self._asked = False

    def request(self) -> None:
        """Have the next frame inspected; requests that no frame has answered yet are one."""
        self._asked = True

    def fires(self, image: NDArray[np.uint8]) -> bool:  # noqa: ARG002 - as every trigger
        """Return whether there was a request since the last frame."""
        asked, self._asked = self._asked, False
        return asked
