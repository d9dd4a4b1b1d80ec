"""What a training and an evaluation tell the people at the line, as one page each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from edge_occ.manifest import Calibration, Choice, Manifest
from edge_occ.promise import promise, share_in_words
from trainer.cases import Case
from trainer.charts import score_histogram, training_curve
from trainer.evaluate import Evaluation
from trainer.page import Picture, Report, Section, Table, write_report

_CLASSES = {
    "cutpaste": ("normal", "patch"),
    "cutpaste-scar": ("normal", "scar"),
    "cutpaste-union": ("normal", "patch or scar"),
    "cutpaste-3way": ("normal", "patch", "scar"),
    "rotation": ("upright", "turned by 90°", "180°", "270°"),
}
_HOW_TO_READ = (
    "Left: the image, with the known defect outlined in green. Right: the same image coloured by its scores; what is "
    "above the threshold is outlined in white."
)


def training_report(
    path: Path,
    manifest: Manifest,
    histories: Sequence[tuple[str, list[list[float]]]],
    held_out: NDArray[np.floating],
    picture: bytes,
) -> Path:
    """Write the page of a training run.

    Args:
        path: the HTML file.
        manifest: of the bundle.
        histories: of each encoder that was trained, its task, and rows of step, loss and accuracies of stage 1 (see
            :class:`trainer.fit.Fit`).
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
            _threshold_text(manifest.calibration),
            score_histogram({"held-out good parts": held_out}, manifest.calibration.threshold),
        ),
    ]
    if manifest.precisions:
        sections.append(_precisions(manifest))
    if manifest.choice:
        sections.append(_choice(manifest.choice))
    sections += _stage1(histories)
    if training.skipped:
        sections.append(Section("Skipped images", "These could not be used.", table=_lines("image", training.skipped)))
    software = ", ".join(f"{name} {version}" for name, version in training.software.items())
    sections.append(Section("How to repeat it", f"With {software}:", code=training.command))
    settings = Table(("setting", "value"), list(_settings(training.config)))
    sections.append(Section("All settings", "Override one with --set setting=value.", table=settings, folded=True))
    title = f"{path.stem}: trained on {training.images} images of good parts"
    return write_report(path, Report(title, promise(manifest.calibration), _training_facts(manifest), sections))


def evaluation_report(folder: Path, manifest: Manifest, evaluation: Evaluation, held_out: NDArray[np.floating]) -> Path:
    """Write the page of an evaluation, ``folder/index.html``.

    Args:
        folder: made if it is not there.
        manifest: of the bundle.
        evaluation: what came of it.
        held_out: scores of the calibration ``[n]``.

    Raises:
        InputError: it cannot be written.
    """
    groups = {
        "held-out good parts": held_out,
        "good test images": np.array([record.verdict.score for record in evaluation.good]),
        "defects": np.array([record.verdict.score for record in evaluation.defects]),
    }
    sections = [
        Section(
            "Scores and threshold",
            f"{promise(manifest.calibration)} {_observation(evaluation)}",
            score_histogram(groups, manifest.calibration.threshold),
        )
    ]
    if evaluation.per_defect:
        sections.append(Section("By kind of defect", table=_per_defect(evaluation)))
    cases = evaluation.cases
    for title, text, chosen in (
        ("Defects with the lowest scores", _HOW_TO_READ, cases.defects),
        ("Good parts with the highest scores", "The next false alarms would look like these.", cases.good),
        (
            "One ordinary image of each kind of defect",
            "The one whose score is in the middle of its kind.",
            cases.typical,
        ),
    ):
        if chosen:
            sections.append(Section(title, text, pictures=[_picture(case) for case in chosen]))
    if evaluation.skipped:
        sections.append(
            Section("Skipped images", "These could not be read.", table=_lines("image", evaluation.skipped))
        )
    sections.append(Section("All images", table=_all_images(evaluation), folded=True))
    title = f"Evaluation of {evaluation.bundle.name} on {evaluation.data.resolve().name}"
    return write_report(folder / "index.html", Report(title, _verdict(evaluation), _facts(evaluation), sections))


def _threshold_text(calibration: Calibration) -> str:
    return (
        f"Each of the {calibration.n} good images was scored by a head fitted without it; the encoder had seen all of "
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


def _choice(choice: Choice) -> Section:
    share = f"the position explains {choice.alignment:.0%} of what varies from feature to feature"
    how = (
        f"Parts lie in the same place ({share}), so the weights in the score are those that tell synthetic defects "
        "best, and the heatmap is of all heads of the best encoder."
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


def _stage1(histories: Sequence[tuple[str, list[list[float]]]]) -> Iterator[Section]:
    """A section for each encoder that was trained, numbered if there are several."""
    for number, (name, history) in enumerate(histories, 1):
        which = f" ({number} of {len(histories)})" if len(histories) > 1 else ""
        text = (
            f"The encoder learned to tell good images from changed ones (task {name}). Accuracy is that of each class, "
            "on training images."
        )
        yield Section(
            f"How the encoder learned{which}", text, training_curve(history, _CLASSES.get(name, ("normal", name)))
        )


def _training_facts(manifest: Manifest) -> list[tuple[str, str]]:
    training, geometry = manifest.training, manifest.geometry
    frame = f"{geometry.frame[1]} x {geometry.frame[0]}" if geometry.frame else "different sizes"
    return [
        ("Images", f"{training.images} used, {len(training.skipped)} skipped"),
        ("Image size", f"{frame}, scored at {geometry.size} x {geometry.size}"),
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
    """Every branch's encoder and the scopes of its heads."""
    branches = [config, *config.get("beside", ())]
    words = [
        f"{b['encoder'].get('name', 'dense')}: {_scopes(b['head'])}, {b['head']['dim']} features" for b in branches
    ]
    models = config.get("ensemble", 1)
    return "; ".join(words) + (f"; {models} models of each" if models > 1 else "")


def _scopes(head: Mapping[str, Any]) -> str:
    scope = head["scope"]
    return scope if isinstance(scope, str) else " and ".join(scope)


def _verdict(evaluation: Evaluation) -> str:
    good, defects = len(evaluation.good), len(evaluation.defects)
    found = f"{evaluation.detected} of {defects} defects found" if defects else "no defects to find"
    alarms = f"{evaluation.false_alarms} of {good} good parts refused" if good else "no good parts to pass"
    return f"At the threshold that was set without any defect: {found}, {alarms}."


def _observation(evaluation: Evaluation) -> str:
    """Whether the good test images bear the promise out, told apart from bad luck at the 5 % level."""
    good, alarms, bound = len(evaluation.good), evaluation.false_alarms, evaluation.calibration.upper_95
    if not good:
        return "There are no good test images to check that with."
    seen = f"On the good test images there were {alarms} in {good}"
    if binom.sf(alarms - 1, good, bound) < 0.05:
        return (
            f"{seen}, which is more than chance explains: the good test images differ from the training images, in "
            "light, camera or parts. Train or recalibrate with images from the line as it is now."
        )
    return f"{seen}, which agrees with that."


def _facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    return [
        ("Image AUROC", _number(evaluation.image_auroc)),
        ("Pixel AUROC", _number(evaluation.pixel_auroc)),
        ("AUPRO up to 30 % false positives", _number(evaluation.aupro)),
        ("AUPIMO up to 0.01 % false positives", _number(evaluation.aupimo)),
        ("Best F1 of any threshold", _number(evaluation.f1_max)),
        ("Images", f"{len(evaluation.good)} good, {len(evaluation.defects)} defective"),
        ("Declared false alarms", share_in_words(evaluation.calibration.false_alarm_rate)),
        ("Engine", f"{evaluation.engine}, {evaluation.precision}"),
        ("Took", f"{evaluation.seconds:.1f} s"),
    ]


def _per_defect(evaluation: Evaluation) -> Table:
    return Table(
        ("kind", "found", "image AUROC", "pixel AUROC"),
        [
            (kind, f"{result.detected} of {result.images}", _number(result.image_auroc), _number(result.pixel_auroc))
            for kind, result in evaluation.per_defect.items()
        ],
    )


def _all_images(evaluation: Evaluation) -> Table:
    ranked = sorted(evaluation.records, key=lambda record: -record.verdict.score)
    return Table(
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


def _picture(case: Case) -> Picture:
    verdict, defective = case.scored.verdict, case.scored.image.defective
    outcome = {
        (True, True): "found",
        (True, False): "missed",
        (False, True): "false alarm",
        (False, False): "passed",
    }[defective, verdict.anomalous]
    share = f"{verdict.score / verdict.threshold:.2f} of the threshold"
    return Picture(case.jpeg, f"{case.scored.name}: {outcome}, {share}")


def _settings(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)


def _lines(header: str, lines: Sequence[str]) -> Table:
    return Table((header,), [(line,) for line in lines])


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
