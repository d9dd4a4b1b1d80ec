"""Settings of the self-supervised task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from trainer.config.section import Range, Section


class PretextConfig(Section):
    """The self-supervised task that an encoder is pretrained on."""

    renamed: ClassVar[Mapping[str, str]] = {"least_pixels": "min_pixels", "most_covered": "max_covered"}

    name: Literal[
        "none",
        "cutpaste",
        "cutpaste-scar",
        "cutpaste-union",
        "cutpaste-3way",
        "cutout",
        "cutout-mean",
        "cutout-colour",
        "colour-scar",
        "confetti",
        "rotation",
        "contrastive",
        "contrastive-da",
    ] = Field(
        "cutpaste-3way",
        description="Task: one of the four forms of CutPaste, a baseline of its tables 1 and 4, rotation prediction, "
        "contrastive learning, contrastive learning with distribution augmentation, or none; all but CutPaste need "
        "pretext.mode=image.",
    )
    mode: Literal["dense", "crops", "image"] = Field(
        "dense",
        description="Inputs and labels: whole images with a label for each window (dense), crops with one label "
        "(CutPaste, section 2.4), or whole images with one label (image; CutPaste, section 2.2).",
    )
    crop: Literal[64, 32] = Field(
        64, description="Side of a crop in pixels, at least encoder.window (crops mode; CutPaste 4.2: 64)."
    )
    area: Range = Field(
        (0.003, 0.06),
        description="Smallest and largest area of a CutPaste patch, as shares of the image or crop, above 0.",
    )
    aspect: float = Field(
        3.3,
        ge=1,
        description="Largest aspect ratio of a CutPaste patch, at least 1; ratios are log-uniform (CutPaste A.2: 3.3).",
    )
    scar_width: Range = Field((2, 16), description="Shortest and longest short side of a scar in pixels, above 0.")
    scar_length: Range = Field(
        (10, 40), description="Shortest and longest long side of a scar in pixels, above 0 (CutPaste A.2: 10 to 25)."
    )
    scar_angle: float = Field(
        45, ge=0, le=90, description="Largest rotation of a scar in degrees, 0 to 90 (CutPaste A.2: 45)."
    )
    pastes: tuple[int, int] = Field(
        (1, 3), description="Minimum and maximum number of pastes in an image, at least 1 (dense mode)."
    )
    patch_jitter: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Strength of the colour jitter of a patch before pasting, 0 to below 1 (CutPaste A.2: 0.1).",
    )
    image_jitter: float = Field(
        0.1, ge=0, lt=1, description="Strength of the colour jitter of the whole image, 0 to below 1."
    )
    shift: float = Field(
        0.0, ge=0, lt=1, description="Largest random translation, as a share of the image's side, 0 to below 1."
    )
    flips: bool = Field(
        True, description="Whether to mirror images at random along both axes (rotation: left-right alone)."
    )
    visible: float = Field(
        4 / 255,
        ge=0,
        le=1,
        description="Change, as a share of the full range and averaged over the channels, above which a pasted pixel "
        "counts as visible, 0 to 1 (dense mode).",
    )
    min_pixels: int = Field(
        24, ge=1, description="Minimum number of visibly changed pixels in a window labelled as pasted (dense mode)."
    )
    max_covered: float = Field(
        0.95,
        gt=0,
        le=1,
        description="Share of a window above which a paste covers it without a seam, and the window is ignored, above "
        "0 to 1 (dense mode).",
    )
    scar_blend: Range = Field(
        (1, 1),
        description="Lowest and highest opacity of a scar, above 0 to 1; low values make it faint (dense and crops "
        "mode).",
    )
    source: Literal["same", "other"] = Field(
        "same",
        description="Image that patches are cut from: the same, or another one of the batch (NSA; dense and crops "
        "mode).",
    )
    poisson: float = Field(
        0,
        ge=0,
        le=1,
        description="Share of CutPaste patches blended without a seam, 0 to 1 (NSA; dense and crops mode).",
    )
    scales: Literal[1, 2] = Field(
        1,
        description="Number of scales classified: the window of 64 pixels, or also its central 32 (dense encoder with "
        "window 64, dense mode).",
    )
    hidden_layers: int = Field(
        1,
        ge=0,
        le=16,
        description="Number of hidden layers of the projection head, 0 to 16 (image mode; two-stage paper: 7 for "
        "rotation, 8 for contrastive learning).",
    )
    hidden_width: int = Field(
        512, ge=8, le=2048, description="Width of the projection head's hidden layers, 8 to 2048 (image mode)."
    )
    embedding: int = Field(
        0,
        ge=0,
        le=2048,
        description="Width of the projection head's last, linear layer, 0 (none) to 2048 (image mode; two-stage paper: "
        "512 for rotation, 128 for contrastive learning).",
    )
    temperature: float = Field(
        0.2, gt=0, description="Temperature that divides cosine similarities, above 0 (contrastive tasks)."
    )
    symmetric: bool = Field(
        False,
        description="Whether to compare all views with all others (NT-Xent), instead of first views with second views "
        "alone as the two-stage paper's code does (contrastive tasks).",
    )
    copies: Literal["rot", "hflip", "vflip"] | Annotated[int, Field(ge=1, le=8)] = Field(
        "rot",
        description="Copies of each image that count as images of their own: rot (rotated by 0, 90, 180 and 270 "
        "degrees), hflip, vflip, or the first 1 to 8 of these rotations, each followed by its mirror image "
        "(contrastive-da).",
    )

    @model_validator(mode="after")
    def _ordered(self) -> PretextConfig:
        for name in ("area", "scar_width", "scar_length", "pastes", "scar_blend"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be two rising positive numbers, not {low}, {high}")
        if not self.name.startswith("cutpaste") and self.name != "none" and self.mode != "image":
            raise ValueError(f"pretext.name={self.name} labels whole images: it needs pretext.mode=image")
        if self.name.startswith("contrastive") and not self.embedding:
            raise ValueError(
                f"pretext.name={self.name} compares embeddings: it needs a pretext.embedding above 0 (the paper's: 128)"
            )
        if self.scales == 2 and self.mode != "dense":
            raise ValueError(f"pretext.scales=2 needs pretext.mode=dense, not {self.mode}")
        if self.scar_blend[1] > 1:
            raise ValueError(f"scar_blend is an opacity of at most 1, not {self.scar_blend[1]}")
        return self
