"""``edge-occ demo``: the main job once, on real images, with nothing faked.

The steps are the commands that a user would type, run as processes of their own; the figures at the end come from the
MQTT messages that a subscriber received.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.guarantee import guarantee
from edge_occ.common.errors import BundleRefused, UserError
from edge_occ.mqtt.embedded import EmbeddedBroker, broker_answers
from trainer.data.solar_cells import LICENCE, SolarCells, prepare_solar_cells
from trainer.evaluation.metrics import image_auroc
from trainer.own_files import remove_own, require_own_page
from trainer.report.charts import score_histogram
from trainer.report.page import Page, PagePicture, PageSection, PageTable, write_report

_PORT = 1883
_TOPICS, _DEVICE = "edge-occ-demo", "line"
_SETTINGS = ("optimiser.steps=240",)
_PICTURES = 6

_MESSAGES, _HEATMAPS = re.compile(r"(scores|events|status)\.jsonl"), re.compile(r"\d{6,}(-[\dT.]+Z)?\.jpg")
"""What the subscriber of an earlier demo wrote."""


@dataclass(frozen=True)
class DemoResult:
    """What the subscriber's messages say, joined with the labels.

    Attributes:
        scores: of each streamed cell, by file name.
        latency_ms: capture to publish, of each message.
        fps: cells a second, by their moments of capture.
    """

    scores: dict[str, float]
    anomalous: dict[str, bool]
    frame: dict[str, int]
    latency_ms: list[float]
    fps: float


def run_demo(folder: Path, fps: float) -> None:
    """Train, inspect a stream, collect the messages, compare with the labels, report.

    Args:
        folder: everything is written here; a second run reuses the images and the bundle.
        fps: pictures a second on the simulated line.

    Raises:
        UserError: a step failed; its own message stands above.
    """
    page = folder / "report" / "index.html"
    require_own_page(page, "--folder")
    _title("1/4  Real images: solar cells in electroluminescence light")
    _tell(LICENCE)
    cells = prepare_solar_cells(folder / "cells")
    good = sum(not defective for defective in cells.defective.values())
    trained_on = len(list(cells.train.iterdir()))
    _tell(
        f"{trained_on} good cells to learn from; {good} good and {len(cells.defective) - good} defective ones held out"
    )

    _title("2/4  Learn from the good cells alone")
    bundle = _bundle(folder / "solar-cells.occ", cells)
    _tell(guarantee(bundle.manifest.calibration))

    _title("3/4  Inspect the held-out cells as they pass, publish over MQTT, and listen")
    messages = folder / "messages"
    remove_own(messages / "heatmaps" / _DEVICE, _HEATMAPS)
    remove_own(messages / "heatmaps", _HEATMAPS)
    remove_own(messages, _MESSAGES)
    with _broker() as url, _subscriber(url, messages):
        source = f"{cells.stream}?fps={fps:g}"
        _edge_occ(
            "run",
            "--bundle",
            str(folder / "solar-cells.occ"),
            "--source",
            source,
            "--broker",
            url,
            "--set",
            f"mqtt.prefix={_TOPICS}",
            "--set",
            f"mqtt.device={_DEVICE}",
        )
    outcome = _read(messages / "scores.jsonl")
    if len(outcome.scores) != len(cells.defective):
        raise UserError(
            f"a score message for each of the {len(cells.defective)} cells",
            f"{len(outcome.scores)}",
            "type make demo again",
        )

    _title("4/4  What came over MQTT, compared with the labels")
    facts = _facts(outcome, cells, bundle)
    _report(page, facts, outcome, cells, bundle, messages / "heatmaps" / _DEVICE)
    width = max(len(name) for name, _ in facts)
    for name, value in (*facts, ("report", str(page))):
        sys.stdout.write(f"  {name:<{width}}  {value}\n")


def _bundle(path: Path, cells: SolarCells) -> Bundle:
    """The bundle of an earlier run, or a new one."""
    try:
        if path.exists():
            bundle = read_bundle(path)
            _tell(f"reusing {path}, trained in {bundle.manifest.training.seconds:.0f} s; delete it to train again")
            return bundle
    except BundleRefused as error:
        _tell(f"{path} is {error.found}: training again")
    settings = [part for setting in _SETTINGS for part in ("--set", setting)]
    _edge_occ("train", "--data", str(cells.train), "--preset", "quick", *settings, "--out", str(path))
    return read_bundle(path)


@contextmanager
def _broker() -> Iterator[str]:
    """The broker on this machine, or one of our own."""
    running = broker_answers("127.0.0.1", _PORT)
    with nullcontext() if running else EmbeddedBroker(_PORT):
        _tell(f"broker: {'the one' if running else 'amqtt, started for the demo'} on localhost:{_PORT}")
        yield f"mqtt://127.0.0.1:{_PORT}"


@contextmanager
def _subscriber(url: str, save: Path) -> Iterator[None]:
    """A second process that subscribes, and ends when the inspector says that it goes offline."""
    command = _command("watch", "--broker", url, "--prefix", _TOPICS, "--save", str(save), "--until-offline")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            ready = process.stderr.readline() if process.stderr else ""
            if not ready.startswith("watching"):
                raise UserError("a subscriber", ready.strip() or "nothing", "see above")
            _tell(f"$ {_shown(command)}   (in the background)")
            yield
            process.wait(timeout=30)
        finally:
            process.terminate()


def _edge_occ(*arguments: str) -> None:
    command = _command(*arguments)
    _tell(f"$ {_shown(command)}")
    code = subprocess.run(command, check=False).returncode
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise UserError(f"'edge-occ {arguments[0]}' to succeed", f"exit status {code}", "see its message above")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "edge_occ", *arguments]


def _shown(command: list[str]) -> str:
    return shlex.join(["edge-occ", *command[3:]])


def _read(path: Path) -> DemoResult:
    scores, anomalous, frame, latency, captured = {}, {}, {}, [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        payload: dict[str, Any] = json.loads(line)["payload"]
        name = payload["name"]
        scores[name] = payload["score"]
        anomalous[name] = payload["verdict"] == "anomalous"
        frame[name] = payload["frame"]
        latency.append(payload["latency_ms"])
        captured.append(datetime.fromisoformat(payload["captured_at"].replace("Z", "+00:00")))
    seconds = (max(captured) - min(captured)).total_seconds()
    return DemoResult(scores, anomalous, frame, latency, (len(captured) - 1) / seconds)


def _facts(outcome: DemoResult, cells: SolarCells, bundle: Bundle) -> list[tuple[str, str]]:
    labels = np.array([cells.defective[name] for name in outcome.scores])
    auroc = image_auroc(labels, np.array(list(outcome.scores.values())))
    good = [name for name, defective in cells.defective.items() if not defective]
    bad = [name for name, defective in cells.defective.items() if defective]
    alarms, found = sum(outcome.anomalous[n] for n in good), sum(outcome.anomalous[n] for n in bad)
    calibration = bundle.manifest.calibration
    p50, p95 = np.percentile(outcome.latency_ms, [50, 95])
    return [
        ("image AUROC", f"{auroc:.4f}"),
        ("false alarms promised", f"{calibration.expected:.2%} (95 % sure: below {calibration.upper_95:.2%})"),
        ("false alarms observed", f"{alarms / len(good):.2%} ({alarms} of {len(good)} good cells)"),
        ("defects found", f"{found / len(bad):.1%} ({found} of {len(bad)} defective cells)"),
        ("frames a second", f"{outcome.fps:.2f} ({len(outcome.scores)} messages)"),
        ("capture to publish", f"p50 {p50:.1f} ms, p95 {p95:.1f} ms"),
    ]


def _report(
    path: Path, facts: list[tuple[str, str]], outcome: DemoResult, cells: SolarCells, bundle: Bundle, heatmaps: Path
) -> Path:
    calibration = bundle.manifest.calibration
    groups = {
        "held-out good cells": bundle.held_out,
        "good cells of the stream": _scores(outcome, cells, defective=False),
        "defective cells": _scores(outcome, cells, defective=True),
    }
    sections = [PageSection("Scores and threshold", svg=score_histogram(groups, calibration.threshold))]
    for title, defective, worst_first in (
        ("Defective cells with high scores", True, True),
        ("Defective cells with low scores", True, False),
        ("Good cells with high scores", False, True),
        ("Good cells with low scores", False, False),
    ):
        names = [n for n in outcome.scores if cells.defective[n] == defective]
        names.sort(key=lambda name: outcome.scores[name], reverse=worst_first)
        published = [n for n in names if (heatmaps / f"{outcome.frame[n]:06d}.jpg").exists()]
        pictures = [
            PagePicture((heatmaps / f"{outcome.frame[n]:06d}.jpg").read_bytes(), f"{n}: score {outcome.scores[n]:.0f}")
            for n in published[:_PICTURES]
        ]
        text = f"Heatmaps as they arrived over MQTT. The threshold is {calibration.threshold:.0f}."
        sections.append(PageSection(title, text, pictures=pictures))
    sections.append(PageSection("The images", LICENCE))
    rows = [(n, f"{s:.1f}", "defective" if cells.defective[n] else "good") for n, s in outcome.scores.items()]
    sections.append(PageSection("All cells", table=PageTable(("file", "score", "label"), rows), folded=True))
    return write_report(path, Page("Solar cells, inspected over MQTT", guarantee(calibration), facts, sections))


def _scores(outcome: DemoResult, cells: SolarCells, *, defective: bool) -> np.ndarray:
    return np.array([score for name, score in outcome.scores.items() if cells.defective[name] == defective])


def _title(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


def _tell(text: str) -> None:
    sys.stdout.write(f"  {text}\n")
    sys.stdout.flush()
