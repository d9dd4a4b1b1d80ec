"""The page of the demo, and the figures on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.guarantee import guarantee
from trainer.data.solar_cells import LICENCE, SolarCells
from trainer.evaluation.detection import HEADINGS, Detection, ImageScores
from trainer.evaluation.metrics import image_auroc
from trainer.report.charts import score_histogram
from trainer.report.page import Page, PagePicture, PageSection, PageTable, write_report

_PICTURES = 6


@dataclass(frozen=True)
class DemoResult:
    """The content of the score messages.

    Attributes:
        scores, anomalous, frame: score, verdict and frame number of each streamed cell, by file name.
        latency_ms: time from capture to publish of each message.
        fps: cells per second, from their capture times.
    """

    scores: dict[str, float]
    anomalous: dict[str, bool]
    frame: dict[str, int]
    latency_ms: list[float]
    fps: float


def facts_of(result: DemoResult, cells: SolarCells, bundle: Bundle) -> list[tuple[str, str]]:
    """Return the figures of the stream by name, as text."""
    good = [name for name, defective in cells.defective.items() if not defective]
    bad = [name for name, defective in cells.defective.items() if defective]
    # The verdicts are those of the messages; the table at other rates follows from the scores.
    alarms, found = sum(result.anomalous[n] for n in good), sum(result.anomalous[n] for n in bad)
    scores, calibration = image_scores(result, cells, bundle), bundle.manifest.calibration
    labels = np.repeat([False, True], [len(scores.good), len(scores.defects)])
    auroc = image_auroc(labels, np.concatenate([scores.good, scores.defects]))
    p50, p95 = np.percentile(result.latency_ms, [50, 95])
    return [
        ("Defects found", f"{found / len(bad):.1%} ({found} of {len(bad)} defective cells)"),
        ("False alarms", f"{alarms / len(good):.2%} ({alarms} of {len(good)} good cells)"),
        (
            "Expected false alarms",
            f"{calibration.expected:.2%} (at most {calibration.upper_95:.2%} with 95 % confidence)",
        ),
        ("Image AUROC", f"{auroc:.4f} (against held-out training cells {scores.auroc_held_out:.4f})"),
        ("Frames per second", f"{result.fps:.2f} ({len(result.scores)} messages)"),
        ("Capture to publish", f"p50 {p50:.1f} ms, p95 {p95:.1f} ms"),
    ]


def write_page(
    path: Path,
    facts: list[tuple[str, str]],
    detections: Sequence[Detection],
    result: DemoResult,
    cells: SolarCells,
    bundle: Bundle,
    heatmaps: Path,
) -> Path:
    """Write the page.

    Args:
        path: the HTML file.
        facts: the result of :func:`facts_of`.
        detections: at the declared rate and at others.
        result: of the stream.
        cells: their labels.
        bundle: that inspected them.
        heatmaps: folder of the heatmaps that the subscriber received.

    Raises:
        InputError: the file cannot be written.
    """
    calibration, scores = bundle.manifest.calibration, image_scores(result, cells, bundle)
    groups = {
        "held-out good cells": scores.held_out,
        "good cells of the stream": scores.good,
        "defective cells": scores.defects,
    }
    table = PageTable(HEADINGS, [detection.cells() for detection in detections])
    sections = [
        PageSection("Defects found at the declared rate and at others", table=table),
        PageSection("Scores and threshold", svg=score_histogram(groups, calibration.threshold)),
    ]
    for title, defective, highest_first in (
        ("Defective cells with the highest scores", True, True),
        ("Defective cells with the lowest scores", True, False),
        ("Good cells with the highest scores", False, True),
        ("Good cells with the lowest scores", False, False),
    ):
        names = [n for n in result.scores if cells.defective[n] == defective]
        names.sort(key=lambda name: result.scores[name], reverse=highest_first)
        published = [n for n in names if (heatmaps / f"{result.frame[n]:06d}.jpg").exists()]
        pictures = [
            PagePicture((heatmaps / f"{result.frame[n]:06d}.jpg").read_bytes(), f"{n}: score {result.scores[n]:.0f}")
            for n in published[:_PICTURES]
        ]
        text = f"Heatmaps received over MQTT. The threshold is {calibration.threshold:.0f}."
        sections.append(PageSection(title, text, pictures=pictures))
    sections.append(PageSection("Data set", LICENCE))
    rows = [(n, f"{s:.1f}", "defective" if cells.defective[n] else "good") for n, s in result.scores.items()]
    sections.append(PageSection("All cells", table=PageTable(("file", "score", "label"), rows), folded=True))
    return write_report(path, Page("Demo: inspection of solar cells", guarantee(calibration), facts, sections))


def image_scores(result: DemoResult, cells: SolarCells, bundle: Bundle) -> ImageScores:
    """Return the scores of the stream by their labels, and the bundle's held-out scores."""
    good, defects = (
        np.array([score for name, score in result.scores.items() if cells.defective[name] == defective])
        for defective in (False, True)
    )
    return ImageScores(bundle.held_out, good, defects)
