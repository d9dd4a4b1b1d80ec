"""Observed false alarms against the guarantee, from the figures of ``edge-occ reproduce decisions``.

    PYTHONPATH=. python benchmarks/calibration.py docs/results/decisions.json

Prints a table in Markdown.  The share of good parts above the k-th of n held-out scores follows a Beta distribution, so
the count among further parts follows a beta-binomial one.  Two columns are of that count where the guarantee holds: the
smallest number that is not exceeded in at least 95 of 100 cases, and the chance of so many false alarms or more.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from scipy.stats import betabinom

RATES = (1, 2, 5, 10)
GOOD = {"bottle": 20, "pill": 26, "screw": 41, "toothbrush": 13, "solar_cells": 177, "magnetic_tiles": 63}
"""Good test images, see docs/data.md; the counts of false alarms must come out whole."""
NORMAL = {"bottle": 209, "pill": 267, "screw": 319, "toothbrush": 48, "solar_cells": 411, "magnetic_tiles": 255}
"""Held-out scores, one of each training part; ``(n + 1)`` times the expected share must come out whole."""


def whole(value: float) -> int:
    """Return a number that is whole but for rounding.

    Raises:
        ValueError: it is not, so that a count of images here is wrong.
    """
    if abs(value - round(value)) > 0.02:
        raise ValueError(f"{value} is no count of images")
    return round(value)


def main() -> None:
    print(
        "| set | n | declared | expected | at most (95 %) | false alarms | of those at most (95 %) | within "
        "| share above the bound of all parts | chance of so many or more |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for entry in json.loads(Path(sys.argv[1]).read_text())["entries"]:
        name, figures = entry["category"], {key: value["mean"] for key, value in entry["ours"].items() if value}
        good, n = GOOD[name], NORMAL[name]
        for rate in RATES:
            observed, expected = figures[f"false_alarms_{rate}"], figures[f"promised_{rate}"]
            bound = figures[f"promised_{rate}_upper"]
            alarms, above = whole(observed * good / 100), whole(expected * (n + 1) / 100)
            count = betabinom(good, above, n + 1 - above)
            chance, most = count.sf(alarms - 1), int(count.ppf(0.95))
            print(
                f"| {name} | {n} | {rate} % | {expected:.1f} % | {bound:.1f} % | {alarms} of {good}, {observed:.1f} % "
                f"| {most} | {'yes' if alarms <= most else 'no'} | {'yes' if observed > bound else 'no'} "
                f"| {100 * chance:.0f} % |"
            )


if __name__ == "__main__":
    main()
