"""The files of a table: Markdown, JSON, a plot, and a picture for each category."""

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
    """Check before a run that the table's files may be written.

    Raises:
        InputError: files with its names exist and do not belong to an earlier version of this table.
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
            f"{there[0]}, which does not belong to the table {table.name}",
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
    """Write all files into a folder; cells that are not finished have no figures.

    Args:
        folder: created if it does not exist.
        summary: the figures.
        statuses: the states of all cells.
        store: provides the cells' pictures.
        info: the run behind the table.
        show: whether to copy pictures, which show images of the data set.

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
    """Return the table as JSON: means in the table's scales, percent as in the papers; values as cells hold them."""
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
    """Copy the heatmaps of the first pictured row that has any; return its name and seed."""
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
