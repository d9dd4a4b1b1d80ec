"""What travels in a bundle for people: a model card and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from edge_occ.bundle.guarantee import guarantee, share_in_words
from edge_occ.bundle.manifest import Calibration, Geometry, Precision, Training
from edge_occ.common.printable import printable
from engines.parity import Parity
from trainer.data.traits import shrinking
from trainer.report.training_set import doubts, training_set

_CARD = """\
# Model card

An inspector for one kind of part, made by edge-occ {edge_occ} on {created_at}. It learned from images of good parts
alone and scores every camera frame by how unlike them it is. It does not know kinds of defects.

## The promise

{guarantee}

The declared false-alarm rate is {declared}. Each held-out part was scored by a head fitted without it; the encoder had
seen them all.

## Trained on

- {training_set}; converted: {conversions}; size: {frame}
{doubts}- SHA-256 of their content: `{data_sha256}`
- preset `{preset}`, seed {seed}, {steps} steps, {minutes:.1f} minutes, with {software}

The command was:

{command}

## What happens to a frame

1. It is resized to {size} x {size} pixels, whatever its size and shape: an axis of {twice} pixels or more is first
   halved as often as it stays as long as that.
{branches}

All but the halving is inside the ONNX graph, which takes frames of any size: 8-bit, height x width x 3, BGR. Whoever
feeds large frames to the graph without edge-occ halves them in the same way (2x2 means, rounded half up).

## How to read a score

A score is a distance from good parts in the units of the heads (of a Gaussian, the square of Mahalanobis's): 0 at the
least, comparable only within this bundle. A usual good part scores {median:.4g}; above {threshold:.4g} a part is called
anomalous. The p-value beside it is the share of good parts expected to score at least as high; with {n} held-out parts
it is never below {least_p:.2g}.

## Limits

- It holds for the camera, light, distance and parts of the training images. After a change, recalibrate or train anew.
- What the training images show is normal to it: a defect in many of them is never reported.
- {unseen}
- The promise is about false alarms. How many defects are found only `edge-occ evaluate` tells, with labelled images.
- It inspects parts. It is not made to judge people, nor to be the only guard of anyone's safety.

## Checked

ONNX Runtime gives the scores of training on {frames} golden frames within {score_error:.1e} and the heatmaps within
{map_error:.1e} (relative). Every engine that loads this bundle is measured in the same way and refused if it is out of
tolerance.
{precisions}
## Licences

{licences}
"""


def model_card(manifest: Mapping[str, Any], parity: Parity) -> str:
    """Markdown about a bundle, for whoever receives it.

    Args:
        manifest: all fields of :class:`edge_occ.bundle.bundle.Manifest` but ``members``.
        parity: of the exported graph.
    """
    geometry: Geometry = manifest["geometry"]
    calibration: Calibration = manifest["calibration"]
    training: Training = manifest["training"]
    return _CARD.format(
        **{name: manifest[name] for name in ("edge_occ", "created_at", "licences")},
        **{name: getattr(training, name) for name in ("seed", "steps", "data_sha256")},
        size=geometry.size,
        twice=2 * geometry.size,
        branches=_branches(manifest["head"]["branches"]),
        **{name: getattr(calibration, name) for name in ("median", "threshold", "n")},
        **vars(parity),
        guarantee=guarantee(calibration),
        declared=share_in_words(calibration.false_alarm_rate),
        training_set=training_set(training),
        doubts="".join(f"- {doubt}\n" for doubt in doubts(training)),
        preset=printable(training.preset),
        conversions=", ".join(training.conversions) or "nothing",
        frame=f"{geometry.frame[1]} x {geometry.frame[0]} pixels" if geometry.frame else "different",
        unseen=_unseen(geometry),
        minutes=training.seconds / 60,
        software=", ".join(f"{name} {version}" for name, version in training.software.items()),
        command=f"    {printable(training.command)}",
        precisions="".join(_precision(name, compared) for name, compared in manifest["precisions"].items()),
        least_p=1 / (calibration.n + 1),
    )


def _unseen(geometry: Geometry) -> str:
    lost = shrinking(geometry.frame, geometry.size) if geometry.frame else None
    if lost is None:
        return "A defect of a few pixels of the resized frame may go unseen."
    return fill(f"{lost[0].upper()}{lost[1:]}.", 120, subsequent_indent="  ")


def _branches(branches: Sequence[Mapping[str, Any]]) -> str:
    """What happens after resizing, as a numbered list."""
    steps = []
    for branch in branches:
        rows, columns = branch["grid"]
        what = f"Every window of {branch['window']} x {branch['window']} pixels, one each {branch['stride']} pixels"
        where = "The image" if rows == columns == 1 else f"{what} ({rows} x {columns}),"
        steps.append(
            f"{where} becomes {branch['dim']} features of the encoder {branch['encoder']}. {_head(branch)}\n   "
            f"says how far they are from those of good parts. The smoothed scores are a heatmap; the image score\n   "
            f"is {_IMAGE_SCORE[branch['image_score']]}."
        )
    if len(steps) > 1 or len(branches[0]["scope"]) + len(branches[0]["beside"]) > 1:
        steps.append(
            "Scores and heatmaps of all heads, in units of their spread on held-out good parts, are added with weights."
        )
    return "".join(f"{number}. {step}\n" for number, step in enumerate(steps, 2))


def _head(branch: Mapping[str, Any]) -> str:
    beside = "".join(f" and a head of kind {kind}" for kind in branch["beside"])
    if branch["kind"] != "gaussian":
        return f"A head of kind {branch['kind']}{beside}"
    return f"A Gaussian ({' and one '.join(branch['scope'])}, {branch['regulariser']}){beside}"


_IMAGE_SCORE = {"max": "its highest value", "top": "the mean of its highest values"}


def _precision(name: str, compared: Precision) -> str:
    """One paragraph about a graph in less than fp32."""
    agreement = f"{compared.agreement:.1%} of {compared.images} good and pasted images get the verdict of fp32"
    if not compared.included:
        return f"\nThere is no {name} graph: {compared.reason}.\n"
    return f"\nThe {name} graph shares head and threshold: {agreement}.\n"
