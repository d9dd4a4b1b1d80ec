"""Settings of the mild changes that cameras, lamps and encoders make."""

from __future__ import annotations

from pydantic import Field, model_validator

from trainer.config.section import Section


class CameraChangesConfig(Section):
    """Changed copies of the normal images, on which heads are fitted and calibrated too; see docs/pictures.md.

    Encoders are trained, and models selected, on the images as they are.
    """

    copies: int = Field(0, ge=0, le=8, description="changed copies of every normal image; 0 switches the changes off")
    brightness: float = Field(0.03, ge=0, le=0.5, description="largest change of brightness, as a share")
    noise: float = Field(3, ge=0, le=50, description="largest standard deviation of the sensor's noise, grey levels")
    jpeg: tuple[int, int] | None = Field(
        (70, 96), description="lowest and highest quality of JPEG; half of the copies are compressed; null: none is"
    )
    shift: int = Field(1, ge=0, le=16, description="largest shift along either axis, pixels of the frame")

    @model_validator(mode="after")
    def _ordered(self) -> CameraChangesConfig:
        if self.jpeg is not None and not 1 <= self.jpeg[0] <= self.jpeg[1] <= 100:
            raise ValueError(f"jpeg takes two qualities of 1 to 100, the lower one first, not {list(self.jpeg)}")
        return self
