"""A finished table in Markdown; the text is in the template ``table.md.j2``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainer.report.rendering import render
from trainer.reproduce.paper import MEANS, Figure, paper_columns
from trainer.reproduce.provenance import Provenance
from trainer.reproduce.run import CellStatus
from trainer.reproduce.summary import Entry, TableSummary, paper_figure

_NONE = "-"
_SPREADS = {"standard error": "standard error", "standard deviation": "standard deviation (standard error)"}
"""Spread of our figures by the spread of the paper's."""

_Grid = tuple[Sequence[str], Sequence[tuple[str, Sequence[str]]]]
"""Headings, and for each row the heading of its block and its cells."""


@dataclass(frozen=True)
class RunInfo:
    """The run behind a table.

    Attributes:
        command: the command that repeats it.
        data: name of the data folder, without its parents.
        now: code and machine that wrote the files.
        overrides: settings of every row that differ from the presets.
    """

    command: str
    data: str
    now: Provenance
    overrides: tuple[str, ...] = ()


def markdown(
    summary: TableSummary, statuses: Sequence[CellStatus], info: RunInfo, *, plot: bool, pictures: dict[str, str]
) -> str:
    """Render a table as Markdown.

    Args:
        summary: the figures.
        statuses: all cells.
        info: the run.
        plot: whether there is a plot to link to.
        pictures: row and seed of each category's heatmaps, by category.
    """
    done = [status.result.made for status in statuses if status.result]
    text = render(
        "table.md.j2",
        table=summary.table,
        spread=_SPREADS[summary.table.spread],
        seeds=len({status.cell.seed for status in statuses}),
        info=info,
        done=len(done),
        cells=len(statuses),
        commits=_distinct(made.commit for made in done),
        hardware=_distinct(made.hardware for made in done),
        software=_distinct(made.software for made in done),
        dates=_span(made.date for made in done),
        categories=_categories(summary),
        means=_means(summary),
        by_category={category: _category(summary, category) for category in summary.categories},
        appendix=_appendix(summary),
        plot=plot,
        pictures=pictures,
    )
    return text.rstrip() + "\n"


def _means(summary: TableSummary) -> _Grid:
    same = f"paper, the same {len(summary.categories)}"
    columns = [entry.row.column for entry in summary.means]
    means = [name for name in MEANS if any(column and name in column.figures for column in columns)]
    papers = ["in the paper", same, *(f"paper, {name}" for name in means)] if summary.table.compares else []
    titles = ["row", *papers, *_ours(summary), "seeds", "updates"]
    rows = []
    for entry in summary.means:
        papers_means = _papers_means(entry, summary, means) if summary.table.compares else []
        figures = _our_figures(summary, entry)
        rows.append((entry.row.block, [entry.row.label, *papers_means, *figures, *_effort(entry)[:2]]))
    return titles, rows


def _papers_means(entry: Entry, summary: TableSummary, means: Sequence[str]) -> list[str]:
    column = entry.row.column
    source = f"{column.label} ({column.source})" if column else _NONE
    figures = [column.mean(summary.categories) if column else None, *(paper_figure(column, name) for name in means)]
    return [source, *map(_text, figures)]


def _category(summary: TableSummary, category: str) -> _Grid:
    compares = summary.table.compares
    titles = ["row", *(["paper"] if compares else []), *_ours(summary), "seeds", "updates", "minutes a seed"]
    rows = []
    for entry in summary.entries[category]:
        paper = [_text(paper_figure(entry.row.column, category))] if compares else []
        rows.append((entry.row.block, [entry.row.label, *paper, *_our_figures(summary, entry), *_effort(entry)]))
    return titles, rows


def _appendix(summary: TableSummary) -> _Grid | None:
    columns = [paper_columns()[name] for name in summary.table.appendix]
    if not columns:
        return None
    names = list(dict.fromkeys(name for column in columns for name in column.figures))
    rows = [("", [f"{c.label} ({c.source})", *(_text(c.figure(name)) for name in names)]) for c in columns]
    return ["method", *names], rows


def _ours(summary: TableSummary) -> list[str]:
    ours = "ours, " if summary.table.compares else ""
    return [f"{ours}{heading}" for heading in summary.metrics.values()]


def _our_figures(summary: TableSummary, entry: Entry) -> list[str]:
    if not entry.done:
        return [entry.state, *[_NONE] * (len(summary.metrics) - 1)]
    return [_text(entry.figures.get(name)) for name in summary.metrics]


def _effort(entry: Entry) -> list[str]:
    """Return seeds, updates and minutes."""
    seeds = f"{entry.done} of {entry.asked}"
    if 0 < entry.done < entry.asked:
        seeds += f", rest {entry.state}"
    column = entry.row.column
    updates = _NONE if entry.updates is None else f"{entry.updates:,}"
    if entry.updates and column and column.updates:
        updates += f" of {column.updates:,}"
    return [seeds, updates, _NONE if entry.minutes is None else f"{entry.minutes:.1f}"]


def _text(figure: Figure | None) -> str:
    return _NONE if figure is None else str(figure)


def _categories(summary: TableSummary) -> str:
    names, total = summary.categories, len(summary.table.categories)
    if len(names) == total:
        return f"all {total} categories"
    return f"{len(names)} of {total} categories: {', '.join(names)}"


def _distinct(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(values)) or _NONE


def _span(dates: Iterable[str]) -> str:
    ordered = sorted(dates)
    if not ordered:
        return _NONE
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"
