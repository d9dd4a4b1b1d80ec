"""What a training tells the people at the line, as one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.guarantee import guarantee
from edge_occ.bundle.manifest import Calibration, Manifest, ModelSelection
from trainer.data.traits import shrinking
from trainer.pretrain.fit_encoder import Fit
from trainer.report.charts import score_histogram, training_curve
from trainer.report.page import Picture, Report, Section, Table, lines, write_report
from trainer.report.training_set import doubts, training_set


def training_report(
    path: Path,
    manifest: Manifest,
    fits: Sequence[tuple[str, Fit]],
    held_out: NDArray[np.floating],
    picture: bytes,
) -> Path:
    """Write the page of a training run.

    Args:
        path: the HTML file.
        manifest: of the bundle.
        fits: of each encoder that was trained, the name of its task, and how it went.
        held_out: scores of the calibration ``[n]``.
        picture: JPEG of a normal and a pasted frame beside their heatmaps.

    Raises:
        InputError: it cannot be written.
    """
    training = manifest.training
    sections = [
        Section(
            "What it sees",
            pictures=[
                Picture(
                    picture,
                    "A good part and its heatmap; the same kind of part with a defect pasted in for this test, and its "
                    "heatmap. What is above the threshold is outlined in white.",
                )
            ],
        ),
        Section(
            "Where the threshold comes from",
            "\n\n".join((_threshold_text(manifest.calibration), *doubts(training))),
            score_histogram({"held-out good parts": held_out}, manifest.calibration.threshold),
        ),
    ]
    if manifest.precisions:
        sections.append(_precisions(manifest))
    if manifest.model_selection:
        sections.append(_model_selection(manifest.model_selection))
    sections += _stage1(fits)
    if training.copies:
        sections.append(Section("Copies", "These were left out.", table=lines("image", training.copies)))
    if training.skipped:
        sections.append(Section("Skipped images", "These could not be used.", table=lines("image", training.skipped)))
    software = ", ".join(f"{name} {version}" for name, version in training.software.items())
    sections.append(Section("How to repeat it", f"With {software}:", code=training.command))
    settings = Table(("setting", "value"), list(_settings(training.config)))
    sections.append(Section("All settings", "Override one with --set setting=value.", table=settings, folded=True))
    title = f"{path.stem}: trained on {training.images} images of good parts"
    return write_report(path, Report(title, guarantee(manifest.calibration), _training_facts(manifest), sections))


def _threshold_text(calibration: Calibration) -> str:
    return (
        f"Each of the {calibration.n} good parts was scored by a head fitted without it; the encoder had seen all of "
        f"them. The threshold is {calibration.threshold:.4g}, set without any defect: an image that scores higher "
        "raises an alarm. The promise holds for parts, camera and light like those in the images; recalibrate after a "
        "change."
    )


def _precisions(manifest: Manifest) -> Section:
    text = (
        "The same encoder in less than fp32, for machines where that is faster, compared with fp32 on good parts and "
        "on the same with a small piece pasted in. One whose verdicts differ too often is left out of the bundle."
    )
    rows = [
        (
            precision,
            "yes" if compared.included else f"no: {compared.reason}",
            f"{compared.agreement:.2%} of {compared.images}",
            f"{compared.auroc:.4f} ({compared.auroc_fp32:.4f})",
            f"{compared.flagged} ({compared.flagged_fp32}) of {manifest.calibration.n}",
            f"{compared.score_error:.1e}",
        )
        for precision, compared in manifest.precisions.items()
    ]
    header = ("precision", "in the bundle", "verdict of fp32", "AUROC (fp32)", "good refused (fp32)", "score error")
    return Section("Other precisions", text, table=Table(header, rows))


def _model_selection(choice: ModelSelection) -> Section:
    share = f"the position explains {choice.alignment:.0%} of what varies from feature to feature"
    how = (
        f"Parts lie in the same place ({share}), so the weights in the score are those that tell synthetic defects "
        "best, and the heatmap is of one head of the best encoder."
        if choice.aligned
        else f"Parts lie in any pose, or are a texture ({share}), so every encoder counts alike in the image score."
    )
    text = (
        "No real defect took part. Held-out good parts were compared with good parts on which synthetic defects of "
        f"several kinds had been made, none of them used in training. {how} Together, what was taken tells images with "
        f"AUROC {choice.image_auroc:.3f} and pixels with {choice.pixel_auroc:.3f}; many of these defects are "
        "faint on purpose."
    )
    rows = [
        (
            f"{c.encoder}, {c.scope}",
            f"{c.sigma:g}, {c.image_score}",
            f"{c.image_auroc:.4f}",
            f"{c.pixel_auroc:.4f}",
            f"{c.score_weight:.2f}",
            f"{c.map_weight:.2f}",
        )
        for c in choice.candidates
    ]
    header = ("head", "smoothing, image score", "image AUROC", "pixel AUROC", "weight in the score", "in the heatmap")
    return Section("How it was chosen", text, table=Table(header, rows))


def _stage1(fits: Sequence[tuple[str, Fit]]) -> Iterator[Section]:
    """A section for each encoder that was trained, numbered if there are several."""
    for number, (name, fit) in enumerate(fits, 1):
        which = f" ({number} of {len(fits)})" if len(fits) > 1 else ""
        curve = training_curve(fit.history, fit.figures.names, fit.figures.axis)
        yield Section(f"How the encoder learned{which}", f"By the task {name}. {fit.figures.text}", curve)


def _training_facts(manifest: Manifest) -> list[tuple[str, str]]:
    training, geometry = manifest.training, manifest.geometry
    frame = f"{geometry.frame[1]} x {geometry.frame[0]}" if geometry.frame else "different sizes"
    lost = shrinking(geometry.frame, geometry.size) if geometry.frame else None
    return [
        ("Images", training_set(training)),
        ("Image size", f"{frame}, scored at {geometry.size} x {geometry.size}"),
        *([("Small defects", lost)] if lost else []),
        ("Converted", ", ".join(training.conversions) or "nothing"),
        (
            "Grid",
            f"{geometry.grid[0]} x {geometry.grid[1]} windows of {geometry.window} pixels, every {geometry.stride}",
        ),
        ("Heads", _heads(training.config)),
        ("Threshold", f"{manifest.calibration.threshold:.4g}"),
        ("Preset, seed", f"{training.preset}, {training.seed}"),
        ("Took", f"{training.seconds / 60:.1f} min for {training.steps} steps"),
        ("Made", f"{manifest.created_at.replace('T', ' ').replace('+00:00', ' UTC')} by edge-occ {manifest.edge_occ}"),
        ("Fingerprint of the images", training.data_sha256[:16]),
    ]


def _heads(config: Mapping[str, Any]) -> str:
    """Every branch's encoder, and the kinds and the scopes of its heads."""
    branches = [config, *config.get("beside", ())]
    words = [
        f"{b['encoder'].get('name', 'dense')}: {_scopes(b['head'])}, {b['head']['dim']} features" for b in branches
    ]
    models = config.get("ensemble", 1)
    return "; ".join(words) + (f"; {models} models of each" if models > 1 else "")


def _scopes(head: Mapping[str, Any]) -> str:
    scope, kind = head["scope"], head.get("kind", "gaussian")
    words = scope if isinstance(scope, str) else " and ".join(scope)
    first = words if kind == "gaussian" else f"{kind}, {words}"
    return " and ".join((first, *head.get("beside", ())))


def _settings(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)
