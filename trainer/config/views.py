"""Settings of the strong augmentation of whole images."""

from __future__ import annotations

from pydantic import Field

from trainer.config.section import Section


class ViewsConfig(Section):
    """Views of an image, as the two-stage paper's released code makes them (``cnr0.5+hflip+jitter+gray``)."""

    enabled: bool = Field(
        False, description="make views, instead of the mild shift and jitter of pretext (rotation, contrastive)"
    )
    crop: float = Field(0.5, gt=0, le=1, description="smallest side of the square crop, as a share of the image's")
    flip: bool = Field(True, description="mirror left-right with probability 1/2")
    brightness: float = Field(0.4, ge=0, le=1, description="added to all colours, up to this much either way")
    contrast: float = Field(0.4, ge=0, le=1, description="strength of the change of contrast")
    saturation: float = Field(0.4, ge=0, le=1, description="strength of the change of saturation")
    hue: float = Field(0.4, ge=0, le=0.5, description="largest turn of the hue, as a share of the circle")
    grey: float = Field(0.2, ge=0, le=1, description="probability of a view without colours")
    blur: float = Field(
        0, ge=0, le=1, description="probability of blur: the paper lists it (0.5), its released code never blurs"
    )
