"""Settings of what is chosen by normal images alone, of the threshold and of the export."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from edge_occ.bundle.gaussian import Scope
from trainer.config.section import Section


class CalibrationConfig(Section):
    """The threshold's promise."""

    false_alarm_rate: float = Field(
        0.01, ge=1e-6, lt=0.5, description="declared share of good parts that raise an alarm"
    )
    folds: int = Field(5, ge=2, description="head refits; every image is scored by a head that never saw it")


class ExportConfig(Section):
    """Graphs beside fp32; each is compared with it, and left out of the bundle if it does not agree."""

    fp16: bool = Field(True, description="encoder in fp16, for GPUs")
    int8: bool = Field(True, description="encoder in int8, but for its first convolutions")


class ChoiceConfig(Section):
    """Heads, smoothing and fusion chosen by synthetic defects on held-out normal images (preset auto)."""

    enabled: bool = Field(False, description="choose, instead of taking head.scope, map and fusion as they are set")
    scopes: tuple[Scope, ...] = Field(
        ("per-position", "shared"),
        min_length=1,
        description="heads to try on each branch; for aligned parts position-mean too, if frozen",
    )
    sigmas: tuple[PositiveFloat, ...] = Field((4, 8), min_length=1, description="smoothings to try on each branch")
    image_scores: tuple[Literal["max", "top"], ...] = Field(
        ("max", "top"),
        min_length=1,
        description="image scores to try on each branch; top alone on one trained for parts in any pose",
    )
    images: int = Field(64, ge=8, description="synthetic defects of each of the generators")
    beside: Literal["always", "unaligned"] = Field(
        "always",
        description="whether the branches beside the first are trained for aligned parts too, where frozen features "
        "alone were as good",
    )
    aligned: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the features' variance that the position must explain for parts to count as aligned; "
        "else encoders trained here get a shared head, and every encoder counts alike in the image score",
    )
