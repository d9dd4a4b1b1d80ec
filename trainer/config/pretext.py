"""Settings of the self-supervised task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from trainer.config.section import Range, Section


class PretextConfig(Section):
    """The self-supervised task of stage 1."""

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
        description="what is told apart: CutPaste in its four forms, the baselines of its tables 1 and 4 (mode=image); "
        "rotations, or views of different images, also of turned copies as images of their own (the two-stage paper's, "
        "mode=image); or none, which leaves the encoder as it begins",
    )
    mode: Literal["dense", "crops", "image"] = Field(
        "dense",
        description="whole images with a label a window, crops with one label (CutPaste, section 2.4), or whole images "
        "with one label (section 2.2)",
    )
    crop: Literal[64, 32] = Field(
        64,
        description="side of a crop in pixels; the features of a crop larger than encoder.window are averaged (crops "
        "mode; CutPaste 4.2 has 64)",
    )
    area: Range = Field((0.003, 0.06), description="area of a CutPaste patch, as a fraction of what it is pasted into")
    aspect: float = Field(
        3.3, ge=1, description="longest side over shortest, log-uniform (RandomErasing; CutPaste A.2)"
    )
    scar_width: Range = Field((2, 16), description="short side of a scar in pixels (CutPaste A.2)")
    scar_length: Range = Field((10, 40), description="long side of a scar in pixels (CutPaste A.2 has 10 to 25)")
    scar_angle: float = Field(45, ge=0, le=90, description="largest turn of a scar in degrees (CutPaste A.2)")
    pastes: tuple[int, int] = Field((1, 3), description="fewest and most pastes an image (dense mode)")
    patch_jitter: float = Field(0.1, ge=0, lt=1, description="colour jitter of a patch before pasting (CutPaste A.2)")
    image_jitter: float = Field(
        0.1, ge=0, lt=1, description="colour jitter of the whole image (CutPaste A.1 names no value)"
    )
    shift: float = Field(0.0, ge=0, lt=1, description="largest translation, fraction of the side (A.1 names no value)")
    flips: bool = Field(
        True, description="mirror images at random along both axes (rotation: left-right, as both are half a turn)"
    )
    visible: float = Field(
        4 / 255, ge=0, le=1, description="a pasted pixel counts where it changed by more than this (mean over channels)"
    )
    min_pixels: int = Field(24, ge=1, description="a window is positive from this many visibly changed pixels on")
    max_covered: float = Field(
        0.95, gt=0, le=1, description="a window covered beyond this fraction holds no seam: ignored"
    )
    offsets: bool = Field(
        False, description="translate images by less than a stride, so that parts lie at every phase of the grid"
    )
    patch_jitter_to: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="the strength of each patch's jitter lies between patch_jitter and this (dense, crops)",
    )
    scar_blend: Range = Field((1, 1), description="opacity of a scar: low values make it faint (dense, crops)")
    scar_near: float = Field(
        1, ge=0, le=1, description="share of the way to its source at which a scar is cut, low: alike (dense, crops)"
    )
    kinds: Literal["image", "paste"] = Field(
        "image", description="one kind of paste an image, or each paste of either kind (dense mode)"
    )
    balance: Literal["fixed", "frequency"] = Field(
        "fixed",
        description="weights of the classes: 1 normal, 2 each kind; or by how rare each is in a batch (dense mode)",
    )
    source: Literal["same", "other"] = Field(
        "same", description="patches are cut from the image itself, or from another one (NSA; dense, crops)"
    )
    poisson: float = Field(
        0, ge=0, le=1, description="share of CutPaste patches blended without a seam (NSA; dense, crops)"
    )
    foreground: bool = Field(
        False, description="cut and paste on the part rather than on the ground around it (NSA; dense mode)"
    )
    scales: Literal[1, 2] = Field(
        1,
        description="classify each window, or also the central 32 of its 64 pixels (dense encoder of 64, dense mode)",
    )
    hidden_layers: int = Field(
        1,
        ge=0,
        le=16,
        description="depth of the projection head (image mode; the two-stage paper's code has 7 for rotation, 8 for "
        "contrastive)",
    )
    hidden_width: int = Field(512, ge=8, le=2048, description="width of its hidden layers (image mode)")
    embedding: int = Field(
        0,
        ge=0,
        le=2048,
        description="width of its last, linear layer, 0 for none (image mode; theirs has 512 for rotation, 128 for "
        "contrastive)",
    )
    temperature: float = Field(
        0.2, gt=0, description="what similarities are divided by (contrastive; the two-stage paper's scripts)"
    )
    symmetric: bool = Field(
        False,
        description="compare all views with all (NT-Xent), instead of first views with second views alone, as the "
        "two-stage paper's code does (contrastive)",
    )
    copies: Literal["rot", "hflip", "vflip"] | Annotated[int, Field(ge=1, le=8)] = Field(
        "rot",
        description="copies of each image that count as images of their own: rot (0, 90, 180, 270 degrees), hflip, "
        "vflip, or the first 1 to 8 of the turns by 0, 90, 180, 270 degrees, each followed by its mirror image "
        "(contrastive-da)",
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
