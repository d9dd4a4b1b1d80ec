"""Settings of the model selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, model_validator

from edge_occ.bundle.sample_grid import Scope
from trainer.config.section import Section


class SelectionConfig(Section):
    """Selection of heads, smoothing and fusion by synthetic defects on held-out normal images (preset auto)."""

    renamed: ClassVar[Mapping[str, str]] = {"beside": "train_further"}

    enabled: bool = Field(
        False, description="Whether to select heads, smoothing and weights; otherwise head.scope, map and fusion apply."
    )
    scopes: tuple[Scope, ...] = Field(
        ("per-position", "position-mean", "shared"),
        min_length=1,
        description="Head scopes to try on each branch, of shared, per-position and position-mean; one of shared and "
        "position-mean makes the map.",
    )
    standardise: tuple[bool, ...] = Field(
        (False, True), min_length=1, description="Values of head.standardise to try on each branch."
    )
    sigmas: tuple[PositiveFloat, ...] = Field(
        (4, 8),
        min_length=1,
        description="Values of map.sigma to try on each branch, in pixels of the resized frame, above 0.",
    )
    shares: tuple[Annotated[float, Field(ge=0, le=0.25)], ...] = Field(
        (0, 0.003, 0.01, 0.03),
        min_length=1,
        description="Shares of the map whose highest values are averaged to the image score, to try on each branch, 0 "
        "to 0.25; 0 is the maximum.",
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
        "0 to 1; see selection.train_further.",
    )

    @model_validator(mode="after")
    def _one_makes_the_map(self) -> SelectionConfig:
        if not {"shared", "position-mean"} & set(self.scopes) or all(self.standardise):
            raise ValueError(
                "selection.scopes needs shared or position-mean, and selection.standardise needs false: such a head "
                "makes the map"
            )
        return self
