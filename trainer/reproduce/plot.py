"""A plot of the paper's figures and ours."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Plot

from edge_occ.common.files import atomic_write
from trainer.reproduce.paper import Figure
from trainer.reproduce.summary import TableSummary, paper_figure

_MARKERS = "osD^vPX*"
_COLOURS = 10


def comparison_plot(path: Path, summary: TableSummary) -> bool:
    """Write a PNG of the paper's figures and ours by category; return whether there was anything to show.

    Each method has a colour.  Markers distinguish the parts of a method or, without parts, methods of equal colour.
    """
    shown = [row for row in summary.rows if any(_main(summary, row.name, c) for c in summary.categories)]
    if not shown:
        return False
    width, height = max(6.0, 1.2 + 1.3 * len(summary.categories)), max(4.2, 0.6 + 0.18 * len(shown))
    plot = Plot(figsize=(width, height), layout="constrained")
    axes = plot.add_subplot()
    offsets = np.linspace(-0.3, 0.3, len(shown)) if len(shown) > 1 else np.zeros(1)
    methods = list(dict.fromkeys(row.method for row in shown))
    parts = list(dict.fromkeys(row.part for row in shown))
    for row, offset in zip(shown, offsets, strict=True):
        number = methods.index(row.method)
        colour = f"C{number % _COLOURS}"
        marker = _MARKERS[(parts.index(row.part) if row.part else number // _COLOURS) % len(_MARKERS)]
        ours = [(x, figure) for x, c in enumerate(summary.categories) if (figure := _main(summary, row.name, c))]
        axes.errorbar(
            [x + offset for x, _ in ours],
            [figure.value for _, figure in ours],
            [figure.spread or 0 for _, figure in ours],
            fmt=marker,
            markersize=5,
            color=colour,
            label=row.name,
        )
        paper = [(x, figure) for x, c in enumerate(summary.categories) if (figure := paper_figure(row.column, c))]
        axes.plot([x + offset for x, _ in paper], [f.value for _, f in paper], "_", markersize=12, color=colour)
    if summary.table.compares:
        axes.plot([], [], "_", markersize=12, color="0.4", label="paper, same colour")
    axes.set_xticks(range(len(summary.categories)), summary.categories)
    axes.set_ylabel(f"{summary.metrics[summary.table.main]}, %")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    plot.legend(loc="outside right upper", fontsize=8, frameon=False)
    buffer = io.BytesIO()
    plot.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
    return True


def _main(summary: TableSummary, row: str, category: str) -> Figure | None:
    entry = next(entry for entry in summary.entries[category] if entry.row.name == row)
    return entry.figures.get(summary.table.main)
