"""What every section of the settings is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Range = tuple[float, float]
"""Lowest and highest value."""


class Section(BaseModel):
    """Fields that are checked and described; others are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
