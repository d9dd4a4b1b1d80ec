"""Settings of the strong augmentation of whole images."""

from __future__ import annotations

from pydantic import Field

from trainer.config.section import Section


class ViewsConfig(Section):
    """Views of an image, as the two-stage paper's released code makes them (``cnr0.5+hflip+jitter+gray``)."""

    enabled: bool = Field(
        False,
        description="Whether to make strong views, instead of the mild shift and jitter of pretext (rotation and "
        "contrastive tasks).",
    )
    crop: float = Field(
        0.5, gt=0, le=1, description="Smallest side of the square crop, as a share of the image's side, above 0 to 1."
    )
    flip: bool = Field(True, description="Whether to mirror views left-right with probability 0.5.")
    brightness: float = Field(
        0.4, ge=0, le=1, description="Largest amount added to or taken from all colours, as a share of white, 0 to 1."
    )
    contrast: float = Field(0.4, ge=0, le=1, description="Largest relative change of contrast, 0 to 1.")
    saturation: float = Field(0.4, ge=0, le=1, description="Largest relative change of saturation, 0 to 1.")
    hue: float = Field(
        0.4, ge=0, le=0.5, description="Largest rotation of the hue, as a share of the colour circle, 0 to 0.5."
    )
    grey: float = Field(0.2, ge=0, le=1, description="Probability that a view is grey, 0 to 1.")
    blur: float = Field(
        0,
        ge=0,
        le=1,
        description="Probability that a view is blurred, 0 to 1; the two-stage paper lists 0.5, its released code "
        "never blurs.",
    )
