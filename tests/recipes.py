"""A recipe of one head, to be changed."""

from __future__ import annotations

from typing import Any

from edge_occ.bundle.recipe import Recipe

HEAD: dict[str, Any] = {
    "branch": 0,
    "scope": "per-position",
    "regulariser": "ledoit-wolf",
    "ridge": 1e-6,
    "components": None,
    "floor": 0.01,
    "neighbourhood": "auto",
    "trim": 0,
    "standardise": False,
    "in_region": False,
    "sigma": 4,
    "upsampling": "normalised",
    "image_score": "max",
    "top_fraction": 0.01,
}
BRANCH: dict[str, Any] = {"grid": (4, 6), "first": 4, "stride": 8}


def recipe(**changes: Any) -> Recipe:
    """Valid, but for the changes."""
    return Recipe.model_validate({"branches": [BRANCH], "heads": [HEAD], "folds": 3, **changes})
