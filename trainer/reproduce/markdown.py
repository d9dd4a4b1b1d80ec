"""A table for people, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainer.reproduce.paper import MEANS, Figure, paper_columns
from trainer.reproduce.provenance import Provenance
from trainer.reproduce.run import CellStatus
from trainer.reproduce.summary import Entry, TableSummary, paper_figure

_NONE = "-"
_SPREADS = {"standard error": "standard error", "standard deviation": "standard deviation (standard error)"}
"""Behind our figures, by what is behind the paper's."""


@dataclass(frozen=True)
class RunInfo:
    """What the files tell besides figures.

    Attributes:
        command: that does the table again.
        data: name of the folder, without the way to it.
        now: which code and machine wrote the files.
        overrides: settings of every row that are not its preset's.
    """

    command: str
    data: str
    now: Provenance
    overrides: tuple[str, ...] = ()


def markdown(
    summary: TableSummary, statuses: Sequence[CellStatus], about: RunInfo, *, plot: bool, pictures: dict[str, str]
) -> str:
    """The table for people; ``pictures`` tells by category what its heatmaps are of."""
    table, name = summary.table, summary.table.name
    done = [status.result.made for status in statuses if status.result]
    seeds = len({status.cell.seed for status in statuses})
    lines = [
        f"# {table.title}",
        "",
        f"Percent. Ours: mean ± {_SPREADS[table.spread]} over {seeds} seed{'s' * (seeds > 1)} (from 0 on), in fp32, "
        f"after the last step; nothing was chosen on test data. The paper's: mean ± {table.spread} over 5 seeds.",
        "",
        *(f"{note}\n" for note in table.notes),
        "| | |",
        "|---|---|",
        f"| command | `{about.command}` |",
        *(
            [f"| **not as in the presets**, in every row | `{'`, `'.join(about.overrides)}` |"]
            if about.overrides
            else []
        ),
        f"| data | {about.data} |",
        f"| cells done | {len(done)} of {len(statuses)} |",
        f"| commits | {_distinct(made.commit for made in done)} |",
        f"| hardware | {_distinct(made.hardware for made in done)} |",
        f"| software | {_distinct(made.software for made in done)} |",
        f"| cells of | {_span(made.date for made in done)} |",
        f"| written | {about.now.date}, {about.now.commit} |",
        "",
        f"## Mean over {_categories(summary)}",
        "",
        *_mean_lines(summary),
        "",
    ]
    if plot:
        lines += [f"![the paper's figures and ours]({name}.png)", ""]
    for category in summary.categories:
        lines += [f"## {category}", "", *_category_lines(summary, category), ""]
        if category in pictures:
            lines += [
                f"![heatmaps of {category}]({name}/{category}.jpg)",
                "",
                f"Image, mask and heatmap of the defects with the lowest, the middle and the highest score; "
                f"{pictures[category]}.",
                "",
            ]
    lines += _appendix_lines(summary)
    return "\n".join(lines).rstrip() + "\n"


def _mean_lines(summary: TableSummary) -> list[str]:
    same = f"paper, the same {len(summary.categories)}"
    columns = [entry.row.column for entry in summary.means]
    means = [name for name in MEANS if any(column and name in column.figures for column in columns)]
    titles = ["row", "stands beside", same, *(f"paper, {name}" for name in means), *_ours(summary), "seeds", "updates"]
    rows = []
    for entry in summary.means:
        column = entry.row.column
        beside = f"{column.label} ({column.source})" if column else _NONE
        papers = [column.mean(summary.categories) if column else None, *(paper_figure(column, name) for name in means)]
        figures = _our_figures(summary, entry)
        rows.append((entry.row.block, [entry.row.label, beside, *map(_text, papers), *figures, *_effort(entry)[:2]]))
    return _grid(titles, rows)


def _category_lines(summary: TableSummary, category: str) -> list[str]:
    titles = ["row", "paper", *_ours(summary), "seeds", "updates", "minutes a seed"]
    return _grid(
        titles,
        [
            (
                entry.row.block,
                [
                    entry.row.label,
                    _text(paper_figure(entry.row.column, category)),
                    *_our_figures(summary, entry),
                    *_effort(entry),
                ],
            )
            for entry in summary.entries[category]
        ],
    )


def _appendix_lines(summary: TableSummary) -> list[str]:
    columns = [paper_columns()[name] for name in summary.table.appendix]
    if not columns:
        return []
    names = list(dict.fromkeys(name for column in columns for name in column.figures))
    rows = [("", [f"{c.label} ({c.source})", *(_text(c.figure(name)) for name in names)]) for c in columns]
    return ["## The paper's own", "", *_grid(["method", *names], rows)]


def _ours(summary: TableSummary) -> list[str]:
    return [f"ours, {heading}" for heading in summary.metrics.values()]


def _our_figures(summary: TableSummary, entry: Entry) -> list[str]:
    if not entry.done:
        return [entry.state, *[_NONE] * (len(summary.metrics) - 1)]
    return [_text(entry.figures.get(name)) for name in summary.metrics]


def _effort(entry: Entry) -> list[str]:
    """Seeds, updates and minutes."""
    seeds = f"{entry.done} of {entry.asked}"
    if 0 < entry.done < entry.asked:
        seeds += f", rest {entry.state}"
    column = entry.row.column
    updates = _NONE if entry.updates is None else f"{entry.updates:,}"
    if entry.updates and column and column.updates:
        updates += f" of {column.updates:,}"
    return [seeds, updates, _NONE if entry.minutes is None else f"{entry.minutes:.1f}"]


def _grid(titles: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """A Markdown table; a new block gets a line of its own."""
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    last = ""
    for block, cells in rows:
        if block != last:
            lines.append(f"| **{block}** |" + " |" * (len(titles) - 1))
            last = block
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _text(figure: Figure | None) -> str:
    return _NONE if figure is None else str(figure)


def _categories(summary: TableSummary) -> str:
    names, total = summary.categories, len(summary.table.categories)
    if len(names) == total:
        return f"all {total} categories"
    return f"{len(names)} of {total} categories only: {', '.join(names)}"


def _distinct(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(values)) or _NONE


def _span(dates: Iterable[str]) -> str:
    ordered = sorted(dates)
    if not ordered:
        return _NONE
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"
