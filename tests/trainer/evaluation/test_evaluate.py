from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from discs import part, write
from sklearn.metrics import f1_score, roc_auc_score

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.common.errors import InputError, UserError
from edge_occ.common.images import read_image
from engines.onnxruntime import OnnxRuntimeEngine
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.result import Evaluation

NO_FAULTS = {"good": 0, "defect": 0}


@pytest.fixture(scope="module")
def evaluation(tiny_bundle: Path, tiny_data: Path) -> Evaluation:
    return evaluate(tiny_bundle, tiny_data)


@pytest.fixture
def data(tiny_data: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(tiny_data, tmp_path / "data"))


def test_the_metrics_are_those_of_the_exported_graph_s_scores(evaluation, tiny_bundle, tiny_data):
    engine = OnnxRuntimeEngine(read_bundle(tiny_bundle).graph())
    labels, scores, truth, pixels = [], [], [], []
    for path in sorted((tiny_data / "test").glob("*/*.png")):
        frame = read_image(path)
        found = engine.infer(frame)
        mask = cv2.imread(str(tiny_data / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"), 0)
        labels.append(mask is not None)
        scores.append(found.score)
        truth.append(np.zeros(frame.shape[:2], bool) if mask is None else mask > 0)
        pixels.append(cv2.resize(found.map, frame.shape[1::-1]))
    result = evaluation.as_json()
    assert result["images"] == {"good": 6, "defect": 7, "faulted": NO_FAULTS, "with_mask": 7, "skipped": []}
    assert result["image_auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert 0.5 < result["image_auroc"] < 1  # two defects are hidden, so neither a constant nor a perfect one will do
    everywhere = roc_auc_score(np.ravel(truth), np.ravel(pixels))
    assert result["pixel_auroc"] == pytest.approx(everywhere, abs=1e-6)
    assert 0 < result["aupro"] < everywhere
    best = max(f1_score(labels, np.array(scores) >= threshold) for threshold in scores)
    assert result["f1_max"] == pytest.approx(best, abs=1e-6)


def test_each_kind_is_compared_with_the_good_images(evaluation):
    def auroc(kind: str) -> float:
        records = [r for r in evaluation.records if r.image.kind in (kind, "good")]
        return float(roc_auc_score([r.image.kind == kind for r in records], [r.verdict.score for r in records]))

    kinds = evaluation.as_json()["per_defect"]
    assert {kind: result["images"] for kind, result in kinds.items()} == {"scratch": 3, "spot": 4}
    for kind, result in kinds.items():
        assert result["image_auroc"] == pytest.approx(auroc(kind), abs=1e-6)
        assert 0.5 < result["pixel_auroc"] < 1
    assert sum(result["detected"] for result in kinds.values()) == evaluation.detected


def test_the_json_matches_the_contract(evaluation, tiny_bundle):
    result = json.loads(json.dumps(evaluation.as_json(), allow_nan=False))
    assert result["false_alarms"] == {
        "declared": 0.01,
        "calibration_n": 16,
        "upper_95": pytest.approx(read_bundle(tiny_bundle).manifest.calibration.upper_95, abs=1e-6),
        "observed": pytest.approx(evaluation.false_alarms / 6, abs=1e-6),
        "observed_n": 6,
    }
    assert result["seconds"] > 0
    assert (result["engine"]["name"], result["engine"]["precision"]) == ("cpu", "fp32")
    assert 0 <= result["engine"]["parity_score_error"] < 1e-3
    for name in ("image_auroc", "pixel_auroc", "aupro", "f1_max"):
        assert result[name] == round(result[name], 6)
    assert result["aupimo"] is None  # 6 good images of 112 x 112 pixels do not show a rate of 1 in 100,000
    assert {kind["aupimo"] for kind in result["per_defect"].values()} == {None}


def test_detection_at_the_declared_rate_comes_first(evaluation, tiny_bundle):
    bundle = read_bundle(tiny_bundle)
    result = json.loads(json.dumps(evaluation.as_json(), allow_nan=False))
    assert next(iter(result)) == "detection"
    assert [entry["rate"] for entry in result["detection"]] == [0.01, 0.02, 0.05, 0.1]
    first, last = result["detection"][0], result["detection"][-1]
    assert first["threshold"] == bundle.manifest.calibration.threshold
    assert (first["found"], first["of"]) == (evaluation.detected, 7)
    assert (first["false_alarms"], first["false_alarms_of"]) == (evaluation.false_alarms, 6)
    assert first["promised_upper_95"] == result["false_alarms"]["upper_95"]
    assert (first["certified"], last["certified"]) == (False, True)  # 16 images certify 1 in 17
    assert first["lowest_certified_rate"] == round(1 / 17, 6)
    scores = np.array([r.verdict.score for r in evaluation.records if r.image.defective])
    assert last["threshold"] == sorted(bundle.held_out)[15]
    assert last["found"] == (scores > last["threshold"]).sum()
    against = roc_auc_score([0] * 16 + [1] * 7, [*bundle.held_out, *scores])
    assert {entry["auroc_held_out"] for entry in result["detection"]} == {round(against, 6)}


def test_aupimo_is_the_mean_overlap_over_very_low_rates_on_good_images(tiny_bundle, data):
    for i in range(6, 20):
        write(data / "test" / "good" / f"{i:03}.png", part(100 + i))
    result = evaluate(tiny_bundle, data)
    engine = OnnxRuntimeEngine(read_bundle(tiny_bundle).graph())

    def scores(path):
        frame = read_image(path)
        return cv2.resize(engine.infer(frame).map, frame.shape[1::-1])

    normal = np.sort([scores(path) for path in (data / "test" / "good").iterdir()], axis=None)[::-1]
    # At each rate, the highest normal score that is not yet a false positive.
    levels = normal[(np.geomspace(1e-5, 1e-4, 20_000) * len(normal)).astype(int)]
    for record, value in zip(result.defects, result.aupimos, strict=True):
        (mask,) = record.image.masks
        found = scores(record.image.path)[read_image(mask).any(axis=2)]
        assert value == pytest.approx(np.searchsorted(np.sort(-found), -levels).mean() / len(found), abs=1e-3)
    assert 0 < result.aupimo < 1
    content = result.as_json()
    assert content["aupimo"] == round(float(np.mean(result.aupimos)), 6)
    by_kind = {"scratch": result.aupimos[:3], "spot": result.aupimos[3:]}
    for kind, values in by_kind.items():
        assert content["per_defect"][kind]["aupimo"] == round(float(np.mean(values)), 6)


def test_records_have_verdicts_and_the_selected_ones_have_pictures(evaluation):
    assert all(r.verdict.anomalous == (r.verdict.score > evaluation.calibration.threshold) for r in evaluation.records)
    assert all(0 < r.verdict.p_value <= 1 for r in evaluation.records)
    cases = evaluation.cases
    lowest = [case.scored.verdict.score for case in cases.defects]
    assert lowest == sorted(r.verdict.score for r in evaluation.defects)[:4]
    highest = [case.scored.verdict.score for case in cases.good]
    assert highest == sorted((r.verdict.score for r in evaluation.good), reverse=True)[:4]
    assert [case.scored.image.kind for case in cases.typical] == ["scratch", "spot"]
    for case, middle in zip(cases.typical, (1, 2), strict=True):
        of_kind = sorted(r.verdict.score for r in evaluation.defects if r.image.kind == case.scored.image.kind)
        assert case.scored.verdict.score == of_kind[middle]
    for case in (*cases.defects, *cases.good, *cases.typical):
        picture = cv2.imdecode(np.frombuffer(case.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (320, 2 * 320 + 4, 3)


def test_without_any_masks_the_pixel_metrics_are_undefined(tiny_bundle, data, evaluation):
    shutil.rmtree(data / "ground_truth")
    result = evaluate(tiny_bundle, data)
    assert (result.pixel_auroc, result.aupro, result.aupimos) == (None, None, ())
    assert {r.pixel_auroc for r in result.per_defect.values()} == {None}
    assert result.image_auroc == evaluation.image_auroc


def test_pixel_figures_are_of_the_defects_with_masks_and_image_figures_of_all(tiny_bundle, data, evaluation):
    for name in ("spot/002_mask.png", "scratch/000_mask.png", "scratch/001_mask.png", "scratch/002_mask.png"):
        (data / "ground_truth" / name).unlink()
    found = evaluate(tiny_bundle, data)
    (warning,) = found.warnings
    assert f"4 of 7 defects have no mask; the first is {data / 'test' / 'scratch' / '000.png'}" in warning
    result, whole = found.as_json(), evaluation.as_json()
    for name in ("detection", "image_auroc", "f1_max", "false_alarms"):
        assert result[name] == whole[name]
    assert result["images"] == {"good": 6, "defect": 7, "faulted": NO_FAULTS, "with_mask": 3, "skipped": []}
    assert result["warnings"] == [warning]
    for kind in ("scratch", "spot"):
        assert result["per_defect"][kind]["image_auroc"] == whole["per_defect"][kind]["image_auroc"]
    assert result["per_defect"]["scratch"]["pixel_auroc"] is None
    shutil.rmtree(data / "test" / "scratch")
    (data / "test" / "spot" / "002.png").unlink()
    masked = evaluate(tiny_bundle, data).as_json()
    for name in ("pixel_auroc", "aupro", "aupimo"):
        assert result[name] == masked[name]
    assert result["per_defect"]["spot"]["pixel_auroc"] == masked["pixel_auroc"]


def test_a_wrong_mask_is_refused_before_scoring(tiny_bundle, data):
    mask = data / "ground_truth" / "spot" / "003_mask.png"
    cv2.imwrite(str(mask), np.zeros((112, 112), np.uint8))
    with pytest.raises(InputError, match=r"003_mask\.png"):
        evaluate(tiny_bundle, data, lambda bundle: pytest.fail("loaded"))


def test_a_mask_pixel_of_any_value_counts(tiny_bundle, data, evaluation):
    for path in (data / "ground_truth").glob("*/*.png"):
        cv2.imwrite(str(path), (read_image(path)[:, :, 0] > 0).astype(np.uint8))
    assert evaluate(tiny_bundle, data).pixel_auroc == evaluation.pixel_auroc


def test_unreadable_images_beyond_one_percent_are_refused_and_fewer_are_skipped(tiny_bundle, data):
    broken = data / "test" / "good" / "005.png"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(InputError, match="1 of 13") as error:
        evaluate(tiny_bundle, data)
    assert str(broken) in error.value.found
    for i in range(100):
        shutil.copy(data / "test" / "good" / "000.png", data / "test" / "good" / f"copy{i}.png")
    result = evaluate(tiny_bundle, data)
    assert len(result.good) == 105
    assert result.as_json()["images"]["skipped"] == list(result.skipped)
    assert [line.startswith(str(broken)) for line in result.skipped] == [True]


def test_good_images_alone_check_the_false_alarms(tiny_bundle, data):
    for kind in ("scratch", "spot"):
        shutil.rmtree(data / "test" / kind)
    result = evaluate(tiny_bundle, data).as_json()
    assert [result[name] for name in ("image_auroc", "pixel_auroc", "aupro", "aupimo", "f1_max")] == [None] * 5
    assert result["per_defect"] == {}
    assert result["false_alarms"]["observed_n"] == 6
    assert {(entry["of"], entry["share"], entry["auroc_held_out"]) for entry in result["detection"]} == {
        (0, None, None)
    }
    assert {entry["false_alarms_of"] for entry in result["detection"]} == {6}


def test_defects_alone_leave_false_alarms_unobserved(tiny_bundle, data):
    shutil.rmtree(data / "test" / "good")
    result = evaluate(tiny_bundle, data).as_json()
    assert (result["image_auroc"], result["f1_max"]) == (None, None)
    assert "no good images" in result["warnings"][0]
    assert result["pixel_auroc"] > 0.5
    assert result["false_alarms"]["observed"] is None
    assert {(entry["of"], entry["false_alarms_of"]) for entry in result["detection"]} == {(7, 0)}
    assert result["detection"][0]["auroc_held_out"] > 0.5


def resize_test_images(data: Path) -> None:
    for path in (*(data / "test").glob("*/*.png"), *(data / "ground_truth").glob("*/*.png")):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), cv2.resize(image, (200, 150), interpolation=cv2.INTER_NEAREST))


def test_images_of_another_size_than_those_of_training_are_refused_before_scoring(tiny_bundle, data):
    resize_test_images(data)
    with pytest.raises(InputError) as error:
        evaluate(tiny_bundle, data, lambda bundle: pytest.fail("loaded"))
    assert "112x112" in error.value.expected
    assert error.value.found == f"200x150 in {data / 'test' / 'good' / '000.png'}"


def test_images_of_any_size_will_do_where_those_of_training_differed(tiny_bundle, data, monkeypatch):
    bundle = read_bundle(tiny_bundle)
    geometry = bundle.manifest.geometry.model_copy(update={"frame": None})
    mixed = replace(bundle, manifest=bundle.manifest.model_copy(update={"geometry": geometry}))
    monkeypatch.setattr("trainer.evaluation.evaluate.read_bundle", lambda path, sha256: mixed)
    resize_test_images(data)
    assert evaluate(tiny_bundle, data).pixel_auroc > 0.5


def test_other_precisions_are_judged_by_the_same_threshold(tiny_bundle, tiny_data, evaluation):
    other = evaluate(tiny_bundle, tiny_data, partial(load_engine, name="cpu", precision="int8"))
    assert other.precision == "int8"
    assert other.calibration == evaluation.calibration
    assert [r.verdict.score for r in other.records] != [r.verdict.score for r in evaluation.records]


def test_an_unknown_engine_is_refused(tiny_bundle, tiny_data):
    with pytest.raises(UserError, match="abacus"):
        evaluate(tiny_bundle, tiny_data, partial(load_engine, name="abacus"))
