"""The HTML report of an evaluation."""

from __future__ import annotations

from pathlib import Path

from scipy.stats import binom

from edge_occ.bundle.guarantee import guarantee, share_in_words
from edge_occ.common.images import counted
from trainer.evaluation.cases import Case
from trainer.evaluation.detection import HEADINGS, what_is_certified
from trainer.evaluation.result import Evaluation
from trainer.report.charts import score_histogram
from trainer.report.page import Page, PagePicture, PageSection, PageTable, lines, write_report

_HOW_TO_READ = (
    "Left: the image with the labelled defect outlined in green. Right: the heatmap; regions above the threshold are "
    "outlined in white."
)


def evaluation_report(folder: Path, evaluation: Evaluation) -> Path:
    """Write the report of an evaluation, ``folder/index.html``.

    Args:
        folder: created if it does not exist.
        evaluation: the result.

    Returns:
        Path of the page.

    Raises:
        InputError: the file cannot be written.
    """
    scores, calibration = evaluation.scores, evaluation.calibration
    groups = {
        "held-out good parts": scores.held_out,
        "good test images": scores.good,
        "defects": scores.defects,
    }
    sections = [
        _detection(evaluation),
        PageSection(
            "Scores and threshold",
            f"{guarantee(calibration)} {_observation(evaluation)}",
            score_histogram(groups, calibration.threshold),
        ),
    ]
    if evaluation.per_defect:
        sections.append(PageSection("By kind of defect", table=_per_defect(evaluation)))
    cases = evaluation.cases
    for title, text, chosen in (
        ("Defects with the lowest scores", _HOW_TO_READ, cases.defects),
        (
            "Good parts with the highest scores",
            "The images closest to a false alarm, or above the threshold.",
            cases.good,
        ),
        (
            "A typical image of each kind of defect",
            "The image with the median score of its kind.",
            cases.typical,
        ),
    ):
        if chosen:
            sections.append(PageSection(title, text, pictures=[_picture(case) for case in chosen]))
    if evaluation.warnings:
        sections.insert(0, PageSection("Warnings", "\n\n".join(evaluation.warnings)))
    if evaluation.skipped:
        sections.append(
            PageSection("Skipped images", "These images could not be used.", table=lines("image", evaluation.skipped))
        )
    if evaluation.faulted:
        sections.append(
            PageSection(
                "Faults",
                "These images have no score, as their parts cannot be turned to the pose of the training.",
                table=lines("image", [f"{found.image.path}: {found.fault}" for found in evaluation.faulted]),
            )
        )
    sections.append(PageSection("All images", table=_all_images(evaluation), folded=True))
    title = f"Evaluation of {evaluation.bundle.name} on {evaluation.data.resolve().name}"
    return write_report(folder / "index.html", Page(title, _verdict(evaluation), _facts(evaluation), sections))


def _verdict(evaluation: Evaluation) -> str:
    good = len(evaluation.good)
    # A defective part that is a fault was not found.
    defects = len(evaluation.defects) + sum(faulted.image.defective for faulted in evaluation.faulted)
    found = f"{evaluation.detected} of {defects} defects found" if defects else "no defects in the set"
    alarms = (
        f"{counted(evaluation.false_alarms, 'false alarm')} in {good} good parts"
        if good
        else "no good parts in the set"
    )
    return f"At the bundle's threshold, which was set without any defect: {found}, {alarms}."


def _observation(evaluation: Evaluation) -> str:
    """Compare the false alarms with the guarantee: a one-sided binomial test at the 5 % level."""
    good, alarms, bound = len(evaluation.good), evaluation.false_alarms, evaluation.calibration.upper_95
    if not good:
        return "There are no good test images to check this."
    seen = f"The good test images gave {alarms} in {good}"
    if binom.sf(alarms - 1, good, bound) < 0.05:
        return (
            f"{seen}, which is more than chance explains: the good test images differ from the training images in "
            "light, camera or parts. Train or recalibrate with current images from the line."
        )
    return f"{seen}, which is consistent with this."


def _detection(evaluation: Evaluation) -> PageSection:
    text = (
        "Each threshold follows from the bundle's held-out training scores and a declared false-alarm rate. The last "
        "column is the guarantee: the expected share of good parts above the threshold, and its 95 % bound."
    )
    sentences = (text, what_is_certified(evaluation.detection))
    table = PageTable(HEADINGS, [detection.cells() for detection in evaluation.detection])
    return PageSection("Detection", "\n\n".join(filter(None, sentences)), table=table)


def _facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    declared = evaluation.detection[0]
    return [
        (f"Found at {share_in_words(declared.calibration.false_alarm_rate)}", declared.share_with_interval),
        ("AUROC against held-out training images", _number(evaluation.scores.auroc_held_out)),
        ("Image AUROC", _number(evaluation.image_auroc)),
        ("Pixel AUROC", _number(evaluation.pixel_auroc)),
        ("AUPRO up to 30 % false positives", _number(evaluation.aupro)),
        ("AUPIMO up to 0.01 % false positives", _number(evaluation.aupimo)),
        ("Highest F1 of any threshold", _number(evaluation.f1_max)),
        ("Images", f"{len(evaluation.good)} good, {len(evaluation.defects)} defective"),
        ("Declared false-alarm rate", share_in_words(evaluation.calibration.false_alarm_rate)),
        ("Engine", f"{evaluation.engine}, {evaluation.precision}"),
        ("Time", f"{evaluation.seconds:.1f} s"),
    ]


def _per_defect(evaluation: Evaluation) -> PageTable:
    return PageTable(
        ("kind", "found", "image AUROC", "pixel AUROC"),
        [
            (kind, f"{result.detected} of {result.images}", _number(result.image_auroc), _number(result.pixel_auroc))
            for kind, result in evaluation.per_defect.items()
        ],
    )


def _all_images(evaluation: Evaluation) -> PageTable:
    ranked = sorted(evaluation.records, key=lambda record: -record.verdict.score)
    return PageTable(
        ("image", "score", "p-value", "verdict"),
        [
            (
                r.name,
                f"{r.verdict.score:.4g}",
                f"{r.verdict.p_value:.3g}",
                "anomalous" if r.verdict.anomalous else "normal",
            )
            for r in ranked
        ],
    )


def _picture(case: Case) -> PagePicture:
    verdict, defective = case.scored.verdict, case.scored.image.defective
    result = {
        (True, True): "found",
        (True, False): "missed",
        (False, True): "false alarm",
        (False, False): "passed",
    }[defective, verdict.anomalous]
    share = f"{verdict.score / verdict.threshold:.2f} of the threshold"
    return PagePicture(case.jpeg, f"{case.scored.name}: {result}, {share}")


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
