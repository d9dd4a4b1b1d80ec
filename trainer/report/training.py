"""The HTML report of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.guarantee import guarantee
from edge_occ.bundle.manifest import Manifest, ModelSelection
from trainer.data.detail import detail
from trainer.pretrain.fit_encoder import Fit
from trainer.report.charts import score_histogram, training_curve
from trainer.report.page import Page, PagePicture, PageSection, PageTable, lines, write_report
from trainer.report.training_set import doubts, training_set


def training_report(
    path: Path,
    manifest: Manifest,
    fits: Sequence[tuple[str, Fit]],
    held_out: NDArray[np.floating],
    picture: bytes,
) -> Path:
    """Write the report of a training.

    Args:
        path: the HTML file.
        manifest: the bundle's manifest.
        fits: task and training history of each encoder that was trained.
        held_out: scores of the held-out images ``[n]``.
        picture: JPEG of a normal and a pasted frame with their heatmaps.

    Raises:
        InputError: the file cannot be written.
    """
    training = manifest.training
    sections = [
        PageSection(
            "Heatmaps",
            pictures=[
                PagePicture(
                    picture,
                    "A good part and its heatmap; a part with a synthetic defect and its heatmap. Regions above the "
                    "threshold are outlined in white.",
                )
            ],
        ),
        PageSection(
            "Threshold",
            "\n\n".join((_threshold_text(manifest), *doubts(training))),
            score_histogram({"held-out good parts": held_out}, manifest.calibration.threshold),
        ),
    ]
    if manifest.precisions:
        sections.append(_precisions(manifest))
    if manifest.model_selection:
        sections.append(_model_selection(manifest.model_selection))
    sections += _pretraining(fits)
    if training.copies:
        sections.append(PageSection("Copies", "These images were left out.", table=lines("image", training.copies)))
    if training.skipped:
        sections.append(
            PageSection("Skipped images", "These images could not be used.", table=lines("image", training.skipped))
        )
    software = ", ".join(f"{name} {version}" for name, version in training.software.items())
    sections.append(PageSection("Command", f"With {software}:", code=training.command))
    settings = PageTable(("setting", "value"), list(_settings(training.config)))
    sections.append(
        PageSection("All settings", "To change a setting: --set setting=value.", table=settings, folded=True)
    )
    title = f"{path.stem}: trained on {training.images} images of good parts"
    return write_report(path, Page(title, guarantee(manifest.calibration), _training_facts(manifest), sections))


def _threshold_text(manifest: Manifest) -> str:
    calibration = manifest.calibration
    encoder = "; the encoder was trained on all of them" if manifest.training.steps else ""
    return (
        f"Each of the {calibration.n} good parts was scored by a head fitted without it{encoder}. The threshold, "
        f"{calibration.threshold:.4g}, was set from these scores without any defect; an image that scores higher "
        "raises an alarm. The guarantee holds for parts, camera and light like those in the images; recalibrate after "
        "a change."
    )


def _precisions(manifest: Manifest) -> PageSection:
    text = (
        "The same encoder in fp16 or int8, for machines where that is faster. Each was compared with fp32 on good "
        "parts and on good parts with a small pasted patch. A precision whose verdicts differ too often is left out of "
        "the bundle."
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
    header = (
        "precision",
        "in the bundle",
        "same verdict as fp32",
        "AUROC (fp32)",
        "false alarms (fp32)",
        "score error",
    )
    return PageSection("Other precisions", text, table=PageTable(header, rows))


def _model_selection(choice: ModelSelection) -> PageSection:
    share = f"position explains {choice.alignment:.0%} of the variance of the features"
    how = (
        f"The parts are aligned ({share}), so the weights of the image score are those that detect synthetic defects "
        "best, and the heatmap comes from one head of the best encoder."
        if choice.aligned
        else f"The parts are not aligned, or are a texture ({share}), so all encoders have the same weight in the "
        "image score."
    )
    text = (
        "No real defect was used. The candidates were compared on held-out good parts with and without synthetic "
        f"defects of several kinds, which no training uses. {how} The selected heads together reach an image AUROC of "
        f"{choice.image_auroc:.3f} and a pixel AUROC of {choice.pixel_auroc:.3f} on these defects; many of them are "
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
    header = (
        "head",
        "smoothing, image score",
        "image AUROC",
        "pixel AUROC",
        "weight in the score",
        "weight in the heatmap",
    )
    return PageSection("Model selection", text, table=PageTable(header, rows))


def _pretraining(fits: Sequence[tuple[str, Fit]]) -> Iterator[PageSection]:
    """A section for each encoder that was trained, numbered if there are several."""
    for number, (name, fit) in enumerate(fits, 1):
        which = f" ({number} of {len(fits)})" if len(fits) > 1 else ""
        curve = training_curve(fit.history, fit.figures.names, fit.figures.axis)
        yield PageSection(f"Pretraining{which}", f"Task: {name}. {fit.figures.text}", curve)


def _training_facts(manifest: Manifest) -> list[tuple[str, str]]:
    training, geometry = manifest.training, manifest.geometry
    tiles = "" if geometry.tiles is None else " in each of {} x {} tiles, overlap {:.0%}".format(*geometry.tiles)
    frame = f"{geometry.frame[1]} x {geometry.frame[0]}" if geometry.frame else "different sizes"
    return [
        ("Training set", training_set(training)),
        ("Image size", f"{frame}, scored at {geometry.size[1]} x {geometry.size[0]}{tiles}"),
        ("Smallest defect", detail(geometry)),
        ("Converted", ", ".join(training.conversions) or "nothing"),
        (
            "Grid",
            f"{geometry.grid[0]} x {geometry.grid[1]} windows of {geometry.window} pixels, stride {geometry.stride}",
        ),
        ("Heads", _heads(training.config)),
        ("Threshold", f"{manifest.calibration.threshold:.4g}"),
        ("Preset, seed", f"{training.preset}, {training.seed}"),
        ("Time", f"{training.seconds / 60:.1f} min, {training.steps} training steps"),
        (
            "Created",
            f"{manifest.created_at.replace('T', ' ').replace('+00:00', ' UTC')} by edge-occ {manifest.edge_occ}",
        ),
        ("Fingerprint of the images", training.data_sha256[:16]),
    ]


def _heads(config: Mapping[str, Any]) -> str:
    """Describe each branch: its encoder, and kinds and scopes of its heads."""
    branches = [config, *config.get("further_branches", ())]
    words = [
        f"{b['encoder'].get('name', 'dense')}: {_scopes(b['head'])}, {b['head']['dim']} features" for b in branches
    ]
    models = config.get("ensemble", 1)
    return "; ".join(words) + (f"; {models} models of each" if models > 1 else "")


def _scopes(head: Mapping[str, Any]) -> str:
    scope, kind = head["scope"], head.get("kind", "gaussian")
    words = scope if isinstance(scope, str) else " and ".join(scope)
    first = words if kind == "gaussian" else f"{kind}, {words}"
    return " and ".join((first, *head.get("further_kinds", ())))


def _settings(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)
