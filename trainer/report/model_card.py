"""The model card of a bundle; the text is in the template ``model_card.md.j2``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from edge_occ.bundle.guarantee import guarantee, share_in_words
from edge_occ.bundle.manifest import Calibration, Geometry
from edge_occ.bundle.provenance import ModelSelection, Training
from edge_occ.common.printable import printable
from engines.parity import Parity
from trainer.data.detail import detail
from trainer.report.heads import heads_in_words
from trainer.report.model_selection import of_synthetic
from trainer.report.rendering import render
from trainer.report.training_set import doubts, training_set

_IMAGE_SCORE = {"max": "its highest value", "top": "the mean of its highest values"}


def model_card(manifest: Mapping[str, Any], parity: Parity) -> str:
    """Return the model card in Markdown.

    Args:
        manifest: all fields of :class:`edge_occ.bundle.manifest.Manifest` but ``members``.
        parity: the exported graph compared with torch.
    """
    geometry: Geometry = manifest["geometry"]
    calibration: Calibration = manifest["calibration"]
    training: Training = manifest["training"]
    return render(
        "model_card.md.j2",
        **manifest,
        parity=parity,
        guarantee=guarantee(calibration),
        declared=share_in_words(calibration.false_alarm_rate),
        training_set=training_set(training),
        doubts=list(doubts(training)),
        preset=printable(training.preset),
        frame=f"{geometry.frame[1]} x {geometry.frame[0]} pixels" if geometry.frame else "different",
        software=", ".join(f"{name} {version}" for name, version in training.software.items()),
        command=f"    {printable(training.command)}",
        selection=_selection(manifest["model_selection"]),
        steps=_steps(manifest["head"]["branches"]),
        detail=fill(
            f"A defect with a smaller side may not be detected: {detail(geometry)}.", 118, subsequent_indent="  "
        ),
    )


def _selection(choice: ModelSelection | None) -> str:
    """Describe what the selection reached, filled to lines; nothing without a selection."""
    if choice is None:
        return ""
    return fill(
        f"The heads were selected from {len(choice.candidates)} candidates without any real defect, by the share of "
        f"defects above the threshold of held-out good parts: together they find {of_synthetic(choice)}. Real defects "
        "may be easier or harder to find.",
        118,
    )


def _steps(branches: Sequence[Mapping[str, Any]]) -> list[str]:
    """Describe the steps after resizing."""
    steps = []
    for branch in branches:
        rows, columns = branch["grid"]
        windows = f"Every window of {branch['window']} x {branch['window']} pixels, one each {branch['stride']} pixels"
        input_ = "The image" if rows == columns == 1 else f"{windows} ({rows} x {columns}),"
        steps.append(
            f"{input_} becomes {branch['dim']} features of the encoder {branch['encoder']}.\n"
            f"   {_head(branch)} measures how far they are from those of good parts.\n"
            f"   The smoothed scores are a heatmap; the image score is {_IMAGE_SCORE[branch['image_score']]}."
        )
    if len(steps) > 1 or len(branches[0]["scope"]) + len(branches[0]["further_kinds"]) > 1:
        steps.append(
            "Scores and heatmaps of all heads, in units of their spread on held-out good parts, are added with weights."
        )
    return steps


def _head(branch: Mapping[str, Any]) -> str:
    further = "".join(f" and a head of kind {kind}" for kind in branch["further_kinds"])
    if branch["kind"] != "gaussian":
        return f"A head of kind {branch['kind']}{further}"
    return f"A Gaussian ({' and one '.join(heads_in_words(branch))}, {branch['regulariser']}){further}"
