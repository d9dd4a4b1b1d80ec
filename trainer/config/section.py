"""The base class of every section of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

Range = tuple[float, float]
"""Lowest and highest value."""


class Section(BaseModel):
    """Settings that are checked and described; unknown names are refused.

    Attributes:
        renamed: from earlier names of fields to the current ones, which
            :func:`edge_occ.common.settings.load_settings` accepts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    renamed: ClassVar[Mapping[str, str]] = {}
