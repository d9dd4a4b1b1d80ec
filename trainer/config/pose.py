"""Settings of the pose of the parts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trainer.config.section import Section

PoseMode = Literal["none", "auto", "turn"]


class PoseConfig(Section):
    """Parts that lie in any direction or place before a plain ground are turned and centred before the encoder."""

    mode: PoseMode = Field(
        "none",
        description="none: frames stay as they are; turn: each part is turned to one pose and cut out; auto: turned "
        "where the parts lie in several directions and their outlines show which.",
    )
