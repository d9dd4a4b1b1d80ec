"""Charts for reports: inline SVG that takes its colours from the page, for light and dark mode."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

SERIES = ("#0a0001", "#0a0002", "#0a0003", "#0a0004")
"""Placeholders for the page's colours ``--series-1`` to ``--series-4``; nothing else in the SVG has these values."""

_INK, _ALARM = "#0a000a", "#0a000b"
_PAGE_COLOURS = {
    _INK: "currentColor",
    _ALARM: "var(--alarm, #c0392b)",
    SERIES[0]: "var(--series-1, #2f6f9f)",
    SERIES[1]: "var(--series-2, #3d9970)",
    SERIES[2]: "var(--series-3, #d1782c)",
    SERIES[3]: "var(--series-4, #8e6bb0)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edge-occ",
    "font.size": 9,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}
_WIDE_RANGE, _CROWDED_RANGE, _LOST_RANGE = 12, 1000, 1e9
"""Ratios of the highest to the lowest score: above the first the axis is logarithmic, above the second it has labels at
powers of ten only, above the third it is linear again."""

_MAX_BINS = 40


def score_histogram(groups: Mapping[str, NDArray[np.floating]], threshold: float) -> str:
    """Draw the distribution of image scores as shares of each group, with the threshold as a line.

    Args:
        groups: scores by name of the group, at most four, the reference group first; empty groups are left out.
        threshold: scores above it raise an alarm.

    Returns:
        An ``<svg>`` element.  The score axis is logarithmic where scores differ by more than a factor of 12.
    """
    shown = {name: scores for name, scores in groups.items() if len(scores)}
    everything = np.concatenate([*shown.values(), [threshold]])
    edges = bin_edges(everything, threshold, min(_MAX_BINS, 8 + max(map(len, shown.values())) // 4))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for (name, scores), colour in zip(shown.items(), SERIES, strict=False):
            share = np.full(len(scores), 1 / len(scores))
            label = f"{name} ({len(scores)})"
            axes.hist(scores, edges, weights=share, histtype="stepfilled", color=colour, alpha=0.3)
            axes.hist(scores, edges, weights=share, histtype="step", color=colour, linewidth=1.2, label=label)
        axes.axvline(threshold, color=_ALARM, linewidth=1.2, linestyle=(0, (4, 2)), label=f"threshold {threshold:.4g}")
        if _is_wide(everything):
            axes.set_xscale("log")
            crowded = everything.max() > _CROWDED_RANGE * everything.min()
            axes.xaxis.set_major_locator(LogLocator(subs=(1,) if crowded else (1, 2, 5)))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("score of an image")
        axes.set_ylabel("share of images")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        return _svg(figure, axes)


def training_curve(history: Sequence[Sequence[float]], figures: Sequence[str], axis: str = "accuracy") -> str:
    """Draw loss and figures over the steps of pretraining.

    Args:
        history: rows of step, loss, and each figure as a fraction of 1; at least one row.
        figures: names of the figures, at most four.
        axis: label of the figures' axis.

    Returns:
        An ``<svg>`` element.
    """
    step, loss, *shares = np.asarray(history, dtype=np.float64).T
    marker = "o" if len(step) < 4 else ""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 2.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(step, loss, color=_INK, linewidth=1.2, marker=marker, label="loss")
        left.set_ylim(bottom=0)
        for name, share, colour in zip(figures, shares, SERIES[: len(figures)], strict=True):
            right.plot(step, share, color=colour, linewidth=1.2, marker=marker, label=name)
        right.set_ylim(0, 1)
        right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        left.set_ylabel("loss")
        right.set_ylabel(axis)
        for axes in (left, right):
            axes.set_xlabel("training step")
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
        return _svg(figure, left, right)


def _is_wide(values: NDArray[np.floating]) -> bool:
    low, high = values.min(), values.max()
    return bool(low * _WIDE_RANGE < high < low * _LOST_RANGE)


def bin_edges(values: NDArray[np.floating], threshold: float, bins: int) -> list[float]:
    """Return edges of equal bins on the axis; one edge is the threshold, so that no bar spans it."""
    wide = _is_wide(values)
    low, middle, high = (float(np.log(v) if wide else v) for v in (values.min(), threshold, values.max()))
    width = max((high - low) / bins, 0.002 * abs(high)) or 1.0
    # A margin of a hundredth of a bar, so that rounding leaves no score outside.
    left, right = (math.floor(span / width + 0.01) + 1 for span in (middle - low, high - middle))
    steps = np.arange(-left, right + 1)
    edges = middle + steps * width
    edges = np.exp(edges) if wide else edges
    # A bar includes its left edge; a score that equals the threshold raises no alarm.
    edges[steps == 0] = np.nextafter(threshold, np.inf)
    return list(edges)


def _svg(figure: Figure, *axes: Axes) -> str:
    for plot in axes:
        plot.spines[["top", "right"]].set_visible(False)
        plot.grid(axis="y", color=_INK, alpha=0.15, linewidth=0.5)
        plot.set_axisbelow(True)
        if len(plot.get_legend_handles_labels()[1]) > 1:
            plot.legend(loc="best", fontsize=8)
    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    for placeholder, colour in _PAGE_COLOURS.items():
        text = text.replace(placeholder, colour)
    # Use the page's font instead of matplotlib's list of names.  Older versions write the short form.
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    return re.sub(r" font-family: [^;\"]*;", "", text)
