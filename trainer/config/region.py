"""Settings of the region that is inspected."""

from __future__ import annotations

from pydantic import Field

from trainer.config.section import Section


class RegionConfig(Section):
    """The part of the frame whose positions the image score is taken from."""

    mode: str = Field(
        "whole",
        min_length=1,
        description="Region of the frame: whole; auto (where parts lie before a plain ground, from the normal images; "
        "model selection takes it if it adds power); or the path of a file: a picture of the frame's size whose bright "
        "pixels are inspected, or JSON with polygons in frame pixels, "
        '{"inspect": [[[x, y], ...], ...], "ignore": [...]}.',
    )

    crop: bool = Field(
        False,
        description="Whether frames with more pixels than the input are cropped to the region and a margin before the "
        "encoder, so that all of the input shows what is inspected. Frames must have one size; parts that are turned "
        "are cut out anyway.",
    )

    @property
    def file(self) -> str | None:
        """Path of the user's region; None with another mode."""
        return None if self.mode in ("whole", "auto") else self.mode
