"""The papers' own figures, from ``paper.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

Spread = Literal["standard error", "standard deviation"]
"""What stands behind ±: CutPaste prints the former, the two-stage paper the latter."""

MEANS = ("texture", "object", "all")
"""Means over categories that a paper prints beside the categories themselves."""


@dataclass(frozen=True)
class Figure:
    """A mean over runs.

    Attributes:
        value: AUROC in percent.
        error: standard error of the mean; ``None`` where it is not known or not asked for.
        deviation: standard deviation of the runs; ``None`` likewise.
        recalled: not read anywhere but written down from memory.
    """

    value: float
    error: float | None = None
    deviation: float | None = None
    recalled: bool = False

    @property
    def spread(self) -> float | None:
        """What stands behind ±: the deviation, or else the error."""
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
        label: the method, in the paper's words.
        source: paper and number of the table.
        updates: training steps behind each run; ``None`` where they are not known.
        figures: by category; ``texture``, ``object`` and ``all`` are the paper's own means.
        spread: what stands behind ±.
        recalled: names of the figures that were written down from memory, not verified.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    source: str
    updates: int | None = None
    figures: Mapping[str, tuple[float] | tuple[float, float]]
    spread: Spread = "standard error"
    recalled: frozenset[str] = frozenset()

    def figure(self, name: str) -> Figure | None:
        """The figure of a category or a mean, if the paper prints one."""
        if name not in self.figures:
            return None
        value, spread = (*self.figures[name], None)[:2]
        recalled = name in self.recalled
        if self.spread == "standard deviation":
            return Figure(value, deviation=spread, recalled=recalled)
        return Figure(value, spread, recalled=recalled)

    def mean(self, categories: tuple[str, ...]) -> Figure | None:
        """Mean over these categories, without an error, as the paper's runs are not known one by one."""
        if not categories or not all(name in self.figures for name in categories):
            return None
        value = sum(self.figures[name][0] for name in categories) / len(categories)
        return Figure(value, recalled=not self.recalled.isdisjoint(categories))


@cache
def paper_columns() -> Mapping[str, Column]:
    """All figures, by the name of their column in ``paper.yaml``."""
    content = yaml.safe_load(files(__package__).joinpath("paper.yaml").read_text(encoding="utf-8"))
    return {name: Column.model_validate(column) for name, column in content.items()}
