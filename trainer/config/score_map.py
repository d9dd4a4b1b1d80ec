"""Settings of the score map, and of the fusion of several heads' scores and maps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, FiniteFloat, model_validator

from trainer.config.section import Section


class MapConfig(Section):
    """The score map and the image score."""

    sigma: float = Field(
        4,
        gt=0,
        description="Sigma of the Gaussian that smooths the score map, in pixels of the resized frame, above 0.",
    )
    upsampling: Literal["normalised", "paper"] = Field(
        "normalised",
        description="Upsampling of the map: normalised keeps the gain at the border, paper is the raw transposed "
        "Gaussian, which loses it (CutPaste, A.5).",
    )
    image_score: Literal["max", "top"] = Field(
        "max", description="Image score: maximum of the map (max), or mean of its highest values (top)."
    )
    top_fraction: float = Field(
        0.01,
        gt=0,
        le=0.25,
        description="Share of the map averaged with image_score=top, above 0 to 0.25; one window of 64 pixels is "
        "0.0625 of a map of 256 pixels.",
    )


class FusionConfig(Section):
    """Weights of several heads, whose scores are divided by their spread on held-out normal images and added."""

    score_weights: tuple[FiniteFloat, ...] | None = Field(
        None,
        description="Weight of each head in the image score, at least 0, in the order of branches and heads; none: "
        "equal weights.",
    )
    map_weights: tuple[FiniteFloat, ...] | None = Field(
        None,
        description="Weight of each head in the score map, at least 0, in the order of branches and heads; none: equal "
        "weights.",
    )

    @model_validator(mode="after")
    def _weigh(self) -> FusionConfig:
        for name in ("score_weights", "map_weights"):
            weights = getattr(self, name)
            if weights is not None and (min(weights, default=0) < 0 or sum(weights) <= 0):
                raise ValueError(f"{name} must be at least 0 and not all 0, not {weights}")
        return self
