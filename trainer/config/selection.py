"""Settings of the model selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat

from edge_occ.bundle.gaussian import Scope
from trainer.config.section import Section


class SelectionConfig(Section):
    """Selection of heads, smoothing and fusion by synthetic defects on held-out normal images (preset auto)."""

    renamed: ClassVar[Mapping[str, str]] = {"beside": "train_further"}

    enabled: bool = Field(
        False, description="Whether to select heads, smoothing and weights; otherwise head.scope, map and fusion apply."
    )
    scopes: tuple[Scope, ...] = Field(
        ("per-position", "shared"),
        min_length=1,
        description="Head scopes to try on each branch, of shared, per-position and position-mean; for aligned parts "
        "the scope that makes the map is tried as well.",
    )
    sigmas: tuple[PositiveFloat, ...] = Field(
        (4, 8),
        min_length=1,
        description="Values of map.sigma to try on each branch, in pixels of the resized frame, above 0.",
    )
    image_scores: tuple[Literal["max", "top"], ...] = Field(
        ("max", "top"),
        min_length=1,
        description="Values of map.image_score to try on each branch; a trained branch has top alone unless parts are "
        "aligned.",
    )
    images: int = Field(64, ge=8, description="Number of synthetic defects from each generator, at least 8.")
    train_further: Literal["always", "unaligned"] = Field(
        "always",
        description="When to train the further branches: always, or only if the parts are not aligned (unaligned).",
    )
    aligned: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the features' variance that the position must explain for parts to count as aligned, "
        "0 to 1; for other parts trained encoders get a shared head and all encoders equal weight in the image score.",
    )
