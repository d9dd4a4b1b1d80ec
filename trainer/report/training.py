"""The HTML report of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.guarantee import guarantee, lowest_certified_rate, share_in_words
from edge_occ.bundle.manifest import Calibration, Manifest
from edge_occ.bundle.pose import Pose
from trainer.data.detail import detail
from trainer.pretrain.fit_encoder import Fit
from trainer.report.charts import score_histogram, training_curve
from trainer.report.heads import heads_in_words
from trainer.report.model_selection import of_synthetic, selection_section
from trainer.report.page import Page, PagePicture, PageSection, PageTable, lines, write_report
from trainer.report.training_set import doubts, training_set


def training_report(
    path: Path,
    manifest: Manifest,
    fits: Sequence[tuple[str, Fit]],
    held_out: NDArray[np.floating],
    picture: bytes,
    region: bytes | None = None,
) -> Path:
    """Write the report of a training.

    Args:
        path: the HTML file.
        manifest: the bundle's manifest.
        fits: task and training history of each encoder that was trained.
        held_out: scores of the held-out images ``[n]``.
        picture: JPEG of a normal and a pasted frame with their heatmaps.
        region: JPEG of a training image and its region; ``None``: the whole frame is inspected.

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
    if region is not None:
        sections.insert(1, _region(region, manifest.training.config["region"]["mode"]))
    if manifest.model_selection:
        sections.append(selection_section(manifest.model_selection, _rate(manifest.calibration)))
    if manifest.precisions:
        sections.append(_precisions(manifest))
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
    if manifest.recalibrated is not None:
        checked = manifest.recalibrated
        return (
            f"{calibration.n} good parts of another session were scored. The threshold, {calibration.threshold:.4g}, "
            f"was set from these scores; {checked.false_alarms} of {checked.held_out} more parts of it are above. The "
            "guarantee holds for parts, camera and light like those in that session; recalibrate after a change."
        )
    encoder = "; the encoder was trained on all of them" if manifest.training.steps else ""
    return (
        f"Each of the {calibration.n} good parts was scored by a head fitted without it{encoder}. The threshold, "
        f"{calibration.threshold:.4g}, was set from these scores without any defect; an image that scores higher "
        "raises an alarm. The guarantee holds for parts, camera and light like those in the images; recalibrate after "
        "a change."
    )


def _rate(calibration: Calibration) -> str:
    """The false-alarm rate of the threshold in words: the declared one, or the lowest that the good parts certify."""
    return share_in_words(max(calibration.false_alarm_rate, lowest_certified_rate(calibration.n)))


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


def _region(picture: bytes, mode: str) -> PageSection:
    found = (
        "It was found on the training images, in which the parts lie before a plain ground"
        if mode == "auto"
        else f"It was read from {mode}"
    )
    text = (
        f"The image score is taken from the region alone. {found}. What lies outside raises no alarm, so check that "
        "the outline holds all that can be defective; --set region.mode=FILE takes another region, "
        "--set region.mode=whole inspects the whole frame."
    )
    caption = "A training image; the same with what is not inspected under a grey veil."
    return PageSection("Region", text, pictures=[PagePicture(picture, caption)])


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
    choice = manifest.model_selection
    power = [] if choice is None else [(f"Found at {_rate(manifest.calibration)}", of_synthetic(choice))]
    return [
        *power,
        ("Training set", training_set(training)),
        ("Image size", f"{frame}, {_cropped(geometry.crop)}scored at {geometry.size[1]} x {geometry.size[0]}{tiles}"),
        ("Pose", _pose(geometry.pose)),
        ("Smallest defect", detail(geometry)),
        ("Converted", ", ".join(training.conversions) or "nothing"),
        (
            "Grid",
            f"{geometry.grid[0]} x {geometry.grid[1]} windows of {geometry.window} pixels, stride {geometry.stride}",
        ),
        ("Heads", _heads(manifest)),
        ("Threshold", f"{manifest.calibration.threshold:.4g}"),
        ("Preset, seed", f"{training.preset}, {training.seed}"),
        ("Time", f"{training.seconds / 60:.1f} min, {training.steps} training steps"),
        (
            "Created",
            f"{manifest.created_at.replace('T', ' ').replace('+00:00', ' UTC')} by edge-occ {manifest.edge_occ}",
        ),
        ("Fingerprint of the images", training.data_sha256[:16]),
    ]


def _cropped(crop: tuple[int, int, int, int] | None) -> str:
    return "" if crop is None else "cropped to {3} x {2} from column {1} and row {0} on, ".format(*crop)


def _pose(pose: Pose | None) -> str:
    """Describe what is done about the direction and place of the parts."""
    return f"turned, centred and cut out, {pose.width} x {pose.height}" if pose else "parts stay as they lie"


def _heads(manifest: Manifest) -> str:
    """Describe each branch: its encoder, and its heads; models of an ensemble once."""
    branches = dict.fromkeys(
        f"{branch['encoder']}: {_of_branch(branch)}, {branch['dim']} features" for branch in manifest.head["branches"]
    )
    models = manifest.training.config.get("ensemble", 1)
    return "; ".join(branches) + (f"; {models} models of each" if models > 1 else "")


def _of_branch(branch: Mapping[str, Any]) -> str:
    first, *others = heads_in_words(branch)
    first = first if branch["kind"] == "gaussian" else f"{branch['kind']}, {first}"
    return " and ".join((first, *others, *branch["further_kinds"]))


def _settings(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)
