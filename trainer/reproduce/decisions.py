"""The tables of decisions: what a bundle finds at declared false-alarm rates on every labelled set below a folder.

No paper reports these figures.  Both tables are of the same cells: the first shows detection, ranking and cost, the
second what the threshold rules of other programs make of the same scores.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.common.images import read_image
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.threshold_rules import RULES
from trainer.reproduce import mvtec
from trainer.reproduce.figures import figures, rule_figures
from trainer.reproduce.heatmaps import heatmap_sheet
from trainer.reproduce.sets import find_sets, is_mvtec, opened
from trainer.reproduce.table import CellTask, Measured, PaperTable, Procedure, Row

_FRAMES = 50


def measure(task: CellTask) -> Measured:
    """Train on a set, changed if the row says so, and evaluate the bundle on the rest of it."""
    with (
        opened(task.category, task.data) as labelled,
        TemporaryDirectory(dir=task.bundle.parent, prefix=f"{task.category}-") as folder,
    ):
        changed = task.change.apply(labelled, task.seed) if task.change else labelled
        changed.link(Path(folder))
        manifest = mvtec.trained(replace(task, data=Path(folder)))
        evaluation = evaluate(task.bundle, Path(folder))
        heatmap_sheet(task.picture, task.bundle, evaluation.defects)
        costs = {
            "latency_ms": _latency(task.bundle, evaluation.records[0].image.path),
            "bundle_mb": task.bundle.stat().st_size / 1e6,
        }
    values = {**figures(evaluation), **rule_figures(evaluation), **costs}
    return Measured(values, manifest.training.steps, mvtec.training_seconds(manifest) + evaluation.seconds)


def _latency(path: Path, image: Path) -> float:
    """Return the median duration of the graph for one frame, in milliseconds."""
    bundle = read_bundle(path)
    frame, seconds = read_image(image, bundle.manifest.training.white_level), []
    with closing(load_engine(bundle).engine) as engine:
        for _ in range(_FRAMES):
            begun = time.perf_counter()
            engine.infer(frame)
            seconds.append(time.perf_counter() - begun)
    return 1000 * float(np.median(seconds))


def _find(data: Path, category: str) -> Path | None:
    return find_sets(data).get(category)


def _fingerprint(folder: Path, category: str) -> str:
    if is_mvtec(folder):
        return mvtec.fingerprint(folder, category)  # as in the tables of MVTec AD, which share the bundles
    with opened(category, folder) as labelled:
        return labelled.fingerprint()


def _images(folder: Path, category: str) -> int:
    with opened(category, folder) as labelled:
        return len(labelled.train)


DECISIONS = Procedure("decisions", 1, _find, _fingerprint, _images, measure)

_AUTO = Row("auto", "`auto`", "auto")
_SETS = (
    "Sets: every folder in the MVTec layout, a copy of the magnetic tiles (every fifth free tile is for the test), and "
    "the solar cells of elpv-dataset (split as in the demo)."
)
_CHANGES = (
    "Rows with defective training images: they are drawn from the defective test images, at random with the row's "
    "seed, and taken out of the test."
)

TABLES = (
    PaperTable(
        "decisions",
        "Defects found at declared false-alarm rates",
        DECISIONS,
        (),
        (_AUTO,),
        main="found_1",
        metrics={
            "found_1": "found at 1 %",
            "found_1_lower": "from",
            "found_1_upper": "to",
            "false_alarms_1": "false alarms at 1 %",
            "promised_1": "expected",
            "promised_1_upper": "at most",
            **{
                name: heading
                for percent in (2, 5, 10)
                for name, heading in (
                    (f"found_{percent}", f"found at {percent} %"),
                    (f"false_alarms_{percent}", f"false alarms at {percent} %"),
                )
            },
            "auroc_held_out": "AUROC, held-out",
            "image_auroc": "image AUROC",
            "pixel_auroc": "pixel AUROC",
            "aupro": "AUPRO, up to 0.3",
            "latency_ms": "latency p50, ms",
            "bundle_mb": "bundle, MB",
        },
        notes=(
            "- found: share of the defective test images above the threshold that follows from the held-out training "
            "scores for the declared rate\n"
            "- from, to: its exact 95 % interval for one seed (means of the bounds over seeds, and over sets)\n"
            "- false alarms: share of the good test images above that threshold\n"
            "- expected, at most: the guarantee and its 95 % bound\n"
            "- AUROC, held-out: defects against the held-out training scores\n"
            "- latency: the graph for one frame, on the hardware below",
            "With fewer than 99 training images no threshold certifies 1 %; the highest held-out score is taken.",
            _SETS,
            _CHANGES,
        ),
        pictured=("auto",),
        scales={"latency_ms": 1, "bundle_mb": 1},
        discover=lambda data: tuple(find_sets(data)),
    ),
    PaperTable(
        "thresholds",
        "Threshold rules on the same scores",
        DECISIONS,
        (),
        tuple(replace(_AUTO, name=f"auto-{rule.name}", label=rule.label, part=rule.name) for rule in RULES),
        main="found",
        metrics={"found": "found", "false_alarms": "false alarms"},
        notes=(
            "Found and false alarms: shares of the defective and of the good test images above the threshold.",
            "Every rule but the highest F1 is applied to the held-out scores of the training images. Other programs "
            "take the scores of the images that the model was fitted on, which are lower: their thresholds are lower "
            "and their false alarms more than shown here. Rules with a mean, a deviation or a factor depend on the "
            "scale of the scores, here squared distances.",
            "The highest F1 is chosen on the test images that it is then judged by.",
            _SETS,
            _CHANGES,
        ),
        pictured=(),
        discover=lambda data: tuple(find_sets(data)),
    ),
)
