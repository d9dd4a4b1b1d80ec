from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_occ.bundle.bundle import PREVIEW, read_bundle
from edge_occ.bundle.conformal import Verdict
from edge_occ.bundle.manifest import Manifest
from edge_occ.bundle.provenance import CandidateHead, ModelSelection
from edge_occ.common.images import counted
from trainer.data.layout import LabelledImage
from trainer.evaluation.cases import Cases, ScoredImage
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.result import Evaluation
from trainer.pretext.contrastive import ContrastiveTask
from trainer.pretext.rotation import RotationTask
from trainer.pretext.task import normal_or_changed
from trainer.pretrain.fit_encoder import Fit
from trainer.report.evaluation import evaluation_report
from trainer.report.training import training_report

HISTORY = [[10, 1.1, 0.5, 0.2, 0.1], [20, 0.6, 0.9, 0.6, 0.5]]
CUTPASTE = ("cutpaste-3way", Fit(1.0, HISTORY, normal_or_changed("cutpaste-3way")))
HELD_OUT = np.linspace(5, 60, 16)


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> Manifest:
    return read_bundle(tiny_bundle).manifest


@pytest.fixture(scope="module")
def evaluation(tiny_bundle: Path, tiny_data: Path) -> Evaluation:
    return evaluate(tiny_bundle, tiny_data)


def test_training_writes_a_report_next_to_the_bundle(tiny_bundle, open_page):
    page = open_page(tiny_bundle.with_suffix(".html"))
    assert "discs: trained on 16 images of good parts" in page.text
    assert "edge-occ train --data discs" in page.text
    assert page.references() == []
    assert page.pictures == [read_bundle(tiny_bundle).members[PREVIEW]]
    assert len(page.named("svg")) == 2
    for setting in ("input.size", "pretext.name", "calibration.false_alarm_rate"):
        assert setting in page.text


def test_every_encoder_that_was_trained_has_a_curve(tmp_path, manifest, open_page):
    rotation = Fit(1.0, [[*row, 0.3] for row in HISTORY], RotationTask.figures)
    views = Fit(1.0, [row[:4] for row in HISTORY], ContrastiveTask.figures)
    fits = [CUTPASTE, ("rotation", rotation), ("contrastive", views)]
    page = open_page(training_report(tmp_path / "r.html", manifest, fits, HELD_OUT, b""))
    for number, (task, aim, figure) in enumerate(
        [
            ("cutpaste-3way", "tell good images from changed ones", "scar"),
            ("rotation", "tell by how many quarter turns", "upright"),
            ("contrastive", "find, among views of many images", "own view most similar"),
        ],
        1,
    ):
        assert f"Pretraining ({number} of 3)" in page.text
        assert f"Task: {task}" in page.text
        assert f"The encoder learned to {aim}" in page.text
        assert figure in page.text
    assert len(page.named("svg")) == 4
    untrained = open_page(training_report(tmp_path / "u.html", manifest, [], HELD_OUT, b""))
    assert "Pretraining" not in untrained.text
    assert len(untrained.named("svg")) == 1


def candidate(objective, **changes):
    given = {
        "encoder": "lite0", "scope": "per-position", "sigma": 8, "image_score": "max", "power": objective - 0.05,
        "objective": objective, "image_auroc": 0.9124, "pixel_auroc": None, "score_weight": 0, "map_weight": 0,
    }  # fmt: skip
    return CandidateHead.model_validate({**given, **changes})


def test_model_selection_shows_power_first_and_the_best_candidates(tmp_path, manifest, open_page):
    taken = candidate(
        0.871, standardised=True, in_region=True, image_score="top", top_fraction=0.03, score_weight=0.75, power=0.8372
    )
    makes_map = candidate(0.2, scope="shared", pixel_auroc=0.8765, map_weight=1)
    second = candidate(0.11, encoder="dense", score_weight=0.25)
    others = [candidate(0.3 + k / 100, sigma=10 + k) for k in range(20)]
    choice = ModelSelection(
        alignment=0.62, aligned=True, candidates=(*others, makes_map, second, taken), image_auroc=0.93, pixel_auroc=0.9,
        power=0.8641, defects=402,
    )  # fmt: skip
    path = training_report(
        tmp_path / "r.html", manifest.model_copy(update={"model_selection": choice}), [], HELD_OUT, b""
    )
    page = open_page(path)
    for text in (
        "Found at 1 in 1786.4% of 402 synthetic defects",
        "The selected model finds 86.4% of 402 synthetic defects at 1 in 17 false alarms",
        "Image score: dense, per-position, smoothed by 8 pixels, maximum of the map (weight 0.25); lite0, "
        "per-position, standardised, in the region, smoothed by 8 pixels, mean of the highest 3 % of the map (weight "
        "0.75).",
        "Heatmap: lite0, shared.",
        "Position explains 62%",
        "The best of 23 candidates",
        "0.9124",
        "0.8765",
    ):
        assert text in page.text
    # The twelve best, of which one was taken, and two that were taken; by the mean over the rates.
    shown = [f"{c.objective:.1%}" for c in (taken, *reversed(others[9:]), makes_map, second)]
    places = [page.text.index(f"{text}0.9124") for text in shown]
    assert places == sorted(places)
    assert f"{others[8].objective:.1%}0.9124" not in page.text
    plain = open_page(training_report(tmp_path / "p.html", manifest, [], HELD_OUT, b""))
    assert "Model selection" not in plain.text
    assert "Found at" not in plain.text


@pytest.mark.parametrize(("mode", "words"), [("auto", "found on the training images"), ("a.png", "read from a.png")])
def test_the_region_is_shown_where_there_is_one(tmp_path, manifest, open_page, mode, words):
    config = {**manifest.training.config, "region": {"mode": mode}}
    changed = manifest.model_copy(update={"training": manifest.training.model_copy(update={"config": config})})
    page = open_page(training_report(tmp_path / "r.html", changed, [], HELD_OUT, b"preview", b"region"))
    assert page.pictures == [b"preview", b"region"]
    assert words in page.text
    assert "What lies outside raises no alarm" in page.text
    without = open_page(training_report(tmp_path / "w.html", manifest, [], HELD_OUT, b"preview"))
    assert without.pictures == [b"preview"]
    assert "What lies outside" not in without.text


def test_a_certified_guarantee_is_the_lead(tmp_path, manifest, open_page):
    certified = manifest.calibration.model_copy(
        update={"n": 209, "expected": 2 / 210, "upper_95": 0.0225, "certified": True}
    )
    changed = manifest.model_copy(update={"calibration": certified})
    page = open_page(training_report(tmp_path / "r.html", changed, [CUTPASTE], HELD_OUT, b""))
    assert "Expect about 1 false alarm in 105 good parts (at most 1 in 44 with 95 % confidence)" in page.text
    assert "cannot certify" not in page.text


def test_an_uncertified_rate_is_stated(tmp_path, manifest, open_page):
    page = open_page(training_report(tmp_path / "r.html", manifest, [CUTPASTE], HELD_OUT, b""))
    assert "16 images cannot certify the declared rate of 1 in 100: that takes at least 99" in page.text


def test_skipped_images_are_listed_and_hostile_names_are_only_text(tmp_path, manifest, open_page, hostile):
    training = manifest.training.model_copy(update={"skipped": (f"{hostile}.png: damaged",), "command": hostile})
    changed = manifest.model_copy(update={"training": training})
    page = open_page(training_report(tmp_path / "r.html", changed, [CUTPASTE], HELD_OUT, b""))
    assert "left out: 0 copies, 1 unusable" in page.text
    assert f"{hostile}.png: damaged" in page.text
    assert page.named("script") == []
    assert page.references() == []


def test_an_evaluation_shows_found_and_missed_defects(tmp_path, manifest, evaluation, open_page):
    path = evaluation_report(tmp_path / "report", evaluation)
    assert path == tmp_path / "report" / "index.html"
    page = open_page(path)
    assert (
        f"{evaluation.detected} of 7 defects found, {counted(evaluation.false_alarms, 'false alarm')} in 6 good parts"
        in page.text
    )
    assert "Evaluation of discs.occ on discs" in page.text
    places = [page.text.index(words) for words in ("Found at 1 in 100", "AUROC against held-out", "Image AUROC")]
    assert places == sorted(places)
    for entry in evaluation.detection:
        for cell in entry.cells():
            assert cell in page.text
    assert "16 held-out images certify no rate below 1 in 17" in page.text
    assert f"{evaluation.image_auroc:.4f}" in page.text
    assert page.references() == []
    cases = evaluation.cases
    assert page.pictures == [case.jpeg for case in (*cases.defects, *cases.good, *cases.typical)]
    assert all(cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1) is not None for jpeg in page.pictures)
    for record in evaluation.records:
        assert record.name in page.text
    missed = cases.defects[0].scored
    assert not missed.verdict.anomalous
    assert f"{missed.name}: missed" in page.text


def test_a_hostile_file_name_is_escaped_in_the_report(tmp_path, tiny_bundle, tiny_data, manifest, open_page):
    data = shutil.copytree(tiny_data, tmp_path / "data")
    name = '"><script>alert(1)<script>&amp;.png'
    shutil.move(data / "test" / "good" / "000.png", data / "test" / "good" / name)
    result = evaluate(tiny_bundle, data)
    page = open_page(evaluation_report(tmp_path / "report", result))
    assert f"good/{name}" in page.text
    assert page.named("script") == []


def with_alarms(evaluation: Evaluation, good: int, alarms: int) -> Evaluation:
    image = LabelledImage(Path("x.png"), "good")
    records = [ScoredImage(image, Verdict(9.0, 0.1, 5.0, anomalous=i < alarms)) for i in range(good)]
    return replace(evaluation, records=tuple(records), per_defect={}, cases=Cases((), (), ()))


@pytest.mark.parametrize(
    ("good", "alarms", "words"),
    [
        (20, 0, "images gave 0 in 20, which is consistent"),
        (20, 4, "images gave 4 in 20, which is consistent"),
        (20, 12, "images gave 12 in 20, which is more than chance explains"),
        (0, 0, "no good test images"),
    ],
)
def test_observed_false_alarms_are_compared_with_the_guarantee(
    tmp_path, manifest, evaluation, good, alarms, words, open_page
):
    page = open_page(evaluation_report(tmp_path, with_alarms(evaluation, good, alarms)))
    assert words in page.text


def test_undefined_metrics_are_reported_as_not_defined(tmp_path, manifest, evaluation, open_page):
    bare = replace(evaluation, pixel_auroc=None, aupro=None, aupimos=())
    assert open_page(evaluation_report(tmp_path, bare)).text.count("not defined") == 3
