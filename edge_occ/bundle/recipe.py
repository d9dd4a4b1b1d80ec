"""Recipe of a bundle's heads: all that a device needs to fit them anew to the features that the graph gives it."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_occ.bundle.covariance import Regularisation, Regulariser
from edge_occ.bundle.sample_grid import GaussianSettings, Scope
from edge_occ.bundle.score_map import MapSettings, ScoreMap, Upsampling
from edge_occ.common.size import Size

MAX_RUNS = 1 << 16
"""Largest number of runs of a recorded region; an outline has a few in each row."""

_Positions = Annotated[int, Field(ge=1, le=4096)]
_Weight = Annotated[float, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BranchRecipe(_Part):
    """The positions of an encoder's features in the resized frame."""

    grid: tuple[_Positions, _Positions] = Field(description="rows and columns of positions")
    first: float = Field(ge=0, description="centre of the first position along both axes, pixels")
    stride: float = Field(gt=0, description="distance between positions in pixels")


class HeadRecipe(_Part):
    """The fit of one Gaussian head, and the map and image score that are made of its scores."""

    branch: int = Field(ge=0, le=255, description="the branch whose features it takes")
    scope: Scope = Field(description="which positions share a Gaussian")
    regulariser: Regulariser
    ridge: float = Field(gt=0)
    components: int | None = Field(ge=1)
    floor: float = Field(ge=0)
    neighbourhood: Annotated[int, Field(ge=1)] | Literal["auto"]
    trim: float = Field(ge=0, le=0.5)
    standardise: bool = Field(description="whether its scores are standardised position by position")
    in_region: bool = Field(description="whether it scores the region alone")
    sigma: float = Field(gt=0)
    upsampling: Upsampling
    image_score: Literal["max", "top"]
    top_fraction: float = Field(gt=0, le=0.25)

    @property
    def settings(self) -> GaussianSettings:
        """The settings of the fit."""
        regularisation = Regularisation(self.regulariser, self.ridge, self.components, self.floor)
        return GaussianSettings(self.scope, regularisation, self.neighbourhood, self.trim)

    @property
    def closed_form(self) -> bool:
        """True if one part can be left out without a refit; see :mod:`edge_occ.bundle.leave_one_out`."""
        return self.components is None and not self.trim


class Recipe(_Part):
    """The fit of all heads of a bundle, in the order of its tensors."""

    branches: tuple[BranchRecipe, ...] = Field(min_length=1, max_length=256)
    heads: tuple[HeadRecipe, ...] = Field(min_length=1, max_length=256)
    region: tuple[int, ...] | None = Field(
        None,
        max_length=MAX_RUNS,
        description="pixels of the resized frame that are inspected: lengths of runs row by row, outside and inside in "
        "turn, the first outside; null: all",
    )
    score_weights: tuple[_Weight, ...] | None = Field(None, description="of the heads in the image score; null: equal")
    map_weights: tuple[_Weight, ...] | None = Field(None, description="of the heads in the score map; null: equal")
    folds: int = Field(ge=2, description="of a fit without a closed form")

    @model_validator(mode="after")
    def _whole(self) -> Recipe:
        if any(head.branch >= len(self.branches) for head in self.heads):
            raise ValueError("a head of a branch that is not there")
        for weights in (self.score_weights, self.map_weights):
            if weights is not None and (len(weights) != len(self.heads) or not sum(weights) > 0):
                raise ValueError(f"weights {weights} of {len(self.heads)} heads")
        if self.region is None and any(head.in_region for head in self.heads):
            raise ValueError("a head of a region that is not there")
        return self

    def score_map(self, head: int, size: Size) -> ScoreMap:
        """Return the map of a head.

        Args:
            head: its number.
            size: height and width of the resized frame.

        Raises:
            ValueError: the region is of another size.
        """
        own = self.heads[head]
        branch = self.branches[own.branch]
        rows, columns = (branch.first + branch.stride * np.arange(count, dtype=np.float64) for count in branch.grid)
        mask = runs_to_mask(self.region, size) if own.in_region and self.region is not None else None
        settings = MapSettings(own.sigma, own.upsampling, own.image_score, own.top_fraction)
        return ScoreMap(settings, size, (np.asarray(rows, np.float64), np.asarray(columns, np.float64)), mask)


def mask_to_runs(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the lengths of a mask's runs row by row, outside and inside in turn; the first may be 0."""
    flat = mask.reshape(-1)
    ends = np.concatenate((np.flatnonzero(flat[1:] != flat[:-1]) + 1, [len(flat)]))
    lengths = np.diff(ends, prepend=0).tolist()
    return (0, *lengths) if flat[0] else tuple(lengths)


def runs_to_mask(runs: tuple[int, ...], size: Size) -> NDArray[np.bool_]:
    """Return the mask, bool of the shape ``size``, of :func:`mask_to_runs`.

    Raises:
        ValueError: the runs are of another size, or hold no pixel inside.
    """
    if min(runs, default=-1) < 0 or sum(runs) != size[0] * size[1] or not sum(runs[1::2]):
        raise ValueError(f"a region of {sum(runs)} pixels in runs, not of {size[0]} x {size[1]}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size)
