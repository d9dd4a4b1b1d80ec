"""The papers' own figures, from ``paper.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict

MEANS = ("texture", "object", "all")
"""Means over categories that a paper prints beside the categories themselves."""


@dataclass(frozen=True)
class Figure:
    """A mean over runs.

    Attributes:
        value: AUROC in percent.
        error: standard error of the mean; ``None`` where there is none.
    """

    value: float
    error: float | None = None

    def __str__(self) -> str:
        return f"{self.value:.1f}" if self.error is None else f"{self.value:.1f} ± {self.error:.1f}"


class Column(BaseModel):
    """One method of a paper.

    Attributes:
        label: the method, in the paper's words.
        source: paper and number of the table.
        updates: training steps behind each run.
        figures: by category; ``texture``, ``object`` and ``all`` are the paper's own means.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    source: str
    updates: int
    figures: Mapping[str, tuple[float] | tuple[float, float]]

    def figure(self, name: str) -> Figure | None:
        """The figure of a category or a mean, if the paper prints one."""
        return Figure(*self.figures[name]) if name in self.figures else None

    def mean(self, categories: tuple[str, ...]) -> Figure | None:
        """Mean over these categories, without an error, as the paper's runs are not known one by one."""
        if not categories or not all(name in self.figures for name in categories):
            return None
        return Figure(sum(self.figures[name][0] for name in categories) / len(categories))


@cache
def paper_columns() -> Mapping[str, Column]:
    """All figures, by the name of their column in ``paper.yaml``."""
    content = yaml.safe_load(files(__package__).joinpath("paper.yaml").read_text(encoding="utf-8"))
    return {name: Column.model_validate(column) for name, column in content.items()}
