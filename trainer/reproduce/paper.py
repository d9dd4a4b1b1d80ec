"""The figures in the papers, from ``paper.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

Spread = Literal["standard error", "standard deviation"]
"""The meaning of ±: the standard error in the CutPaste paper, the standard deviation in the two-stage paper."""

MEANS = ("texture", "object", "all")
"""Means over categories that a paper prints."""


@dataclass(frozen=True)
class Figure:
    """A mean over runs.

    Attributes:
        value: mean in percent.
        error: standard error of the mean, or ``None``.
        deviation: standard deviation of the runs, or ``None``.
        recalled: whether the figure was noted from memory and not checked in the paper.
    """

    value: float
    error: float | None = None
    deviation: float | None = None
    recalled: bool = False

    @property
    def spread(self) -> float | None:
        """The figure behind ±: the deviation if known, else the error."""
        return self.error if self.deviation is None else self.deviation

    def __str__(self) -> str:
        words = [f"{self.value:.1f}"]
        if self.spread is not None:
            words.append(f"± {self.spread:.1f}")
        if self.deviation is not None and self.error is not None:
            words.append(f"({self.error:.1f})")
        if self.recalled:
            words.append("(recalled)")
        return " ".join(words)


class Column(BaseModel):
    """One method of a paper.

    Attributes:
        label: the method's name in the paper.
        source: paper and number of the table.
        updates: training steps of each run; ``None`` if unknown.
        figures: mean and spread by category; ``texture``, ``object`` and ``all`` are the paper's means.
        spread: the meaning of ±.
        recalled: names of the figures that were noted from memory and not verified.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    source: str
    updates: int | None = None
    figures: Mapping[str, tuple[float] | tuple[float, float]]
    spread: Spread = "standard error"
    recalled: frozenset[str] = frozenset()

    def figure(self, name: str) -> Figure | None:
        """Return the figure of a category or a mean, or ``None`` if the paper prints none."""
        if name not in self.figures:
            return None
        value, spread = (*self.figures[name], None)[:2]
        recalled = name in self.recalled
        if self.spread == "standard deviation":
            return Figure(value, deviation=spread, recalled=recalled)
        return Figure(value, spread, recalled=recalled)

    def mean(self, categories: tuple[str, ...]) -> Figure | None:
        """Return the mean over these categories, or ``None`` if one is missing.

        It has no error, because the paper does not print its single runs.
        """
        if not categories or not all(name in self.figures for name in categories):
            return None
        value = sum(self.figures[name][0] for name in categories) / len(categories)
        return Figure(value, recalled=not self.recalled.isdisjoint(categories))


@cache
def paper_columns() -> Mapping[str, Column]:
    """Read all columns of ``paper.yaml`` by name."""
    content = yaml.safe_load(files(__package__).joinpath("paper.yaml").read_text(encoding="utf-8"))
    return {name: Column.model_validate(column) for name, column in content.items()}
