"""The files of a table: Markdown, JSON, a plot, and a picture a category."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_occ.common.errors import InputError
from edge_occ.common.files import atomic_write
from trainer.reproduce.cells import Store
from trainer.reproduce.markdown import RunInfo, markdown
from trainer.reproduce.paper import MEANS, Figure
from trainer.reproduce.plot import comparison_plot
from trainer.reproduce.run import CellStatus
from trainer.reproduce.summary import Entry, TableSummary, paper_figure
from trainer.reproduce.table import PaperTable


def require_own_table(folder: Path, table: PaperTable) -> None:
    """Find out whether a table may be written, before the work.

    Raises:
        InputError: there are files of its names, and no earlier table among them that says it is this one.
    """
    places = [folder / f"{table.name}{suffix}" for suffix in (".json", ".md", ".png", "")]
    there = [place for place in places if place.exists()]
    try:
        content = json.loads(places[0].read_bytes()) if there else None
    except (OSError, ValueError):
        content = None
    if there and not (isinstance(content, dict) and content.get("table") == table.name):
        raise InputError(
            f"nothing called {table.name} or an earlier table in {folder}",
            f"{there[0]}, which is of no table {table.name}",
            "move it away, or choose another folder with --out",
        )


def write_table(
    folder: Path,
    summary: TableSummary,
    statuses: Sequence[CellStatus],
    store: Store,
    info: RunInfo,
    *,
    show: bool = True,
) -> Path:
    """Write everything into a folder; no figure is printed for a cell that is not done.

    Args:
        folder: made if it is not there.
        summary: of the cells.
        statuses: of the cells.
        store: has their pictures.
        info: the run behind the table.
        show: whether pictures of the data are copied, which belong to whoever made the data.

    Returns:
        Path of the Markdown file.
    """
    name = summary.table.name
    plot = comparison_plot(folder / f"{name}.png", summary)
    copied = {
        category: _picture(folder / name, statuses, summary, store, category) for category in summary.categories if show
    }
    pictures = {category: what for category, what in copied.items() if what}
    text = markdown(summary, statuses, info, plot=plot, pictures=pictures)
    for path, content in (
        (folder / f"{name}.json", json.dumps(as_json(summary, statuses, info), indent=1, ensure_ascii=False) + "\n"),
        (folder / f"{name}.md", text),
    ):
        with atomic_write(path) as file:
            file.write(content.encode())
    return folder / f"{name}.md"


def as_json(summary: TableSummary, statuses: Sequence[CellStatus], info: RunInfo) -> dict[str, Any]:
    """The table for programs; AUROC in percent, as the paper has it, but in the cells, which hold fractions of 1."""
    return {
        "table": summary.table.name,
        "title": summary.table.title,
        "command": info.command,
        "data": info.data,
        "written": info.now.model_dump(),
        "seeds": sorted({status.cell.seed for status in statuses}),
        "categories": list(summary.categories),
        "entries": [
            {
                "category": category,
                **_entry_json(entry),
                "paper": _figure_json(paper_figure(entry.row.column, category)),
            }
            for category in summary.categories
            for entry in summary.entries[category]
        ],
        "means": [
            {
                **_entry_json(entry),
                "paper": {
                    "same_categories": _figure_json(
                        entry.row.column.mean(summary.categories) if entry.row.column else None
                    ),
                    **{name: _figure_json(paper_figure(entry.row.column, name)) for name in MEANS},
                },
            }
            for entry in summary.means
        ],
        "cells": [
            {
                "row": status.cell.row.name,
                "category": status.cell.category,
                "seed": status.cell.seed,
                "state": status.state,
                **(status.result.model_dump() if status.result else {}),
            }
            for status in statuses
        ],
    }


def _picture(
    folder: Path, statuses: Sequence[CellStatus], summary: TableSummary, store: Store, category: str
) -> str | None:
    """Copy the heatmaps of the first of the table's pictured rows that has any; tells which they are of."""
    rank = {name: index for index, name in enumerate(summary.table.pictured)}
    candidates = [s for s in statuses if s.cell.category == category and s.result and s.cell.row.name in rank]
    for status in sorted(candidates, key=lambda s: (rank[s.cell.row.name], s.cell.seed)):
        source = store.picture(status.cell)
        if source.exists():
            folder.mkdir(exist_ok=True)
            shutil.copyfile(source, folder / f"{category}.jpg")
            return f"row {status.cell.row.name}, seed {status.cell.seed}"
    return None


def _entry_json(entry: Entry) -> dict[str, Any]:
    column = entry.row.column
    return {
        "row": entry.row.name,
        "preset": entry.row.preset,
        "settings": list(entry.row.settings),
        "paper_column": {"label": column.label, "source": column.source, "updates": column.updates} if column else None,
        "ours": {name: _figure_json(figure) for name, figure in entry.figures.items()},
        "seeds": {"asked": entry.asked, "done": entry.done},
        "state": entry.state,
        "updates": entry.updates,
        "minutes": None if entry.minutes is None else round(entry.minutes, 2),
    }


def _figure_json(figure: Figure | None) -> dict[str, float | bool | None] | None:
    if figure is None:
        return None
    known: dict[str, float | bool | None] = {
        "mean": round(figure.value, 4),
        "standard_error": None if figure.error is None else round(figure.error, 4),
    }
    if figure.deviation is not None:
        known["standard_deviation"] = round(figure.deviation, 4)
    return {**known, "recalled": True} if figure.recalled else known
