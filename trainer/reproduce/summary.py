"""The figures of a table, averaged over its finished cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.reproduce.paper import Column, Figure, Spread
from trainer.reproduce.run import CellState, CellStatus
from trainer.reproduce.table import PaperTable, Row


@dataclass(frozen=True)
class Entry:
    """One row of a table, for one category or for the mean over all.

    Attributes:
        figures: mean and spread over the finished seeds, in the table's scales; empty if there are none.
        asked, done: numbers of requested and finished seeds; for a mean, seeds finished in every category.
        state: ``done``, or the worst state of the other cells: ``failed``, ``incomplete`` or ``not run``.
        updates: training steps of a cell; ``None`` if none is finished.
        minutes: mean duration of training and measuring a cell.
    """

    row: Row
    figures: Mapping[str, Figure]
    asked: int
    done: int
    state: CellState
    updates: int | None
    minutes: float | None


@dataclass(frozen=True)
class TableSummary:
    """All figures of a table.

    Attributes:
        rows, categories: the requested ones, in order.
        metrics: headings by name of the figures that at least one cell has.
        entries: an entry for each row, by category.
        means: an entry for each row, over all categories.
    """

    table: PaperTable
    rows: tuple[Row, ...]
    categories: tuple[str, ...]
    metrics: Mapping[str, str]
    entries: Mapping[str, tuple[Entry, ...]]
    means: tuple[Entry, ...]


def summarise(table: PaperTable, statuses: Sequence[CellStatus]) -> TableSummary:
    """Average over seeds, and over categories.

    A mean over categories uses only the seeds that are finished in every category.
    """
    rows = tuple(dict.fromkeys(status.cell.row for status in statuses))
    categories = tuple(dict.fromkeys(status.cell.category for status in statuses))
    of = {
        (row.name, category): [s for s in statuses if s.cell.row == row and s.cell.category == category]
        for row in rows
        for category in categories
    }
    present = dict.fromkeys(
        name
        for status in statuses
        if status.result
        for name, value in status.cell.row.figures(status.result.values).items()
        if value is not None
    )
    headings = table.metrics or {name: name for name in (*present, table.main)}
    metrics = {name: heading for name, heading in headings.items() if name in present or name == table.main}
    return TableSummary(
        table,
        rows,
        categories,
        metrics,
        {
            name: tuple(_entry(table, row, [[status] for status in of[row.name, name]]) for row in rows)
            for name in categories
        },
        tuple(_entry(table, row, _by_seed(s for name in categories for s in of[row.name, name])) for row in rows),
    )


def mean_and_spread(values: Sequence[float], spread: Spread = "standard error", scale: float = 100) -> Figure:
    """Return the mean of fractions in percent, and for two or more values its standard error.

    The standard deviation is added if ``spread`` asks for it.  Values that are no fractions have another scale.
    """
    mean = scale * float(np.mean(values))
    if len(values) < 2:
        return Figure(mean)
    deviation = scale * float(np.std(values, ddof=1))
    return Figure(mean, deviation / len(values) ** 0.5, deviation if spread == "standard deviation" else None)


def paper_figure(column: Column | None, category: str) -> Figure | None:
    """Return the paper's figure for a category."""
    return column.figure(category) if column else None


def _entry(table: PaperTable, row: Row, by_seed: Sequence[Sequence[CellStatus]]) -> Entry:
    """Average groups of cells, one group for each seed."""
    results = [[status.result for status in group if status.result] for group in by_seed]
    complete = [found for found, group in zip(results, by_seed, strict=True) if len(found) == len(group)]
    values = [[row.figures(result.values) for result in group] for group in complete]
    names = dict.fromkeys(name for group in values for cell in group for name in cell)
    figures = {}
    for name in names:
        columns = [[cell.get(name) for cell in group] for group in values]
        known = [[value for value in column if value is not None] for column in columns]
        if all(len(some) == len(column) for some, column in zip(known, columns, strict=True)):
            means = [float(np.mean(column)) for column in known]
            figures[name] = mean_and_spread(means, table.spread, table.scales.get(name, 100))
    cells = [result for group in complete for result in group]
    states = {status.state for group in by_seed for status in group}
    order: tuple[CellState, ...] = ("failed", "incomplete", "not run")
    return Entry(
        row=row,
        figures=figures,
        asked=len(by_seed),
        done=len(complete),
        state=next((state for state in order if state in states), "done"),
        updates=max((result.updates for result in cells), default=None),
        minutes=float(np.mean([result.seconds for result in cells])) / 60 if cells else None,
    )


def _by_seed(statuses: Iterable[CellStatus]) -> list[list[CellStatus]]:
    groups: dict[int, list[CellStatus]] = {}
    for status in statuses:
        groups.setdefault(status.cell.seed, []).append(status)
    return list(groups.values())
