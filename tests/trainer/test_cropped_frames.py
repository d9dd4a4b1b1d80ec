"""A training on frames that are cropped to where the parts lie, and the device on whole frames."""

import cv2
import numpy as np
import pytest
from discs import TINY, write

from edge_occ.bundle import crop as module
from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.inspection.regions import find_boxes
from engines.errors import ParityFailure
from trainer.config import TrainConfig
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.review.review import review
from trainer.train import train

FRAME, CENTRE, RADIUS = (160, 240), (80, 60), 30
SPOT = (90, 50)


def picture(seed, spot=False):
    image = np.full((*FRAME, 3), 60, np.uint8)
    cv2.circle(image, CENTRE, RADIUS, (150, 160, 170), -1, cv2.LINE_AA)
    if spot:
        cv2.circle(image, SPOT, 8, (20, 20, 220), -1)
    noise = np.random.default_rng(seed).normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    for index in range(16):
        write(folder / "train" / "good" / f"{index}.png", picture(index))
    for index in range(4):
        write(folder / "test" / "good" / f"{index}.png", picture(100 + index))
        write(folder / "test" / "spot" / f"{index}.png", picture(200 + index, spot=True))
        mask = np.zeros(FRAME, np.uint8)
        cv2.circle(mask, SPOT, 8, 255, -1)
        write(folder / "ground_truth" / "spot" / f"{index}_mask.png", mask)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "parts.occ"
    settings = {**TINY, "region": {"mode": "auto", "crop": True}, "export": {"fp16": False, "int8": False}}
    train(Job(data, out, TrainConfig.model_validate(settings), "tiny", 0, "cpu", "edge-occ train"))
    return out


@pytest.fixture(scope="module")
def bundle(trained):
    return read_bundle(trained)


@pytest.fixture(scope="module")
def engine(bundle):
    loaded = load_engine(bundle, "cpu").engine
    yield loaded
    loaded.close()


def test_bundle_card_and_report_describe_the_crop(bundle, trained):
    geometry = bundle.manifest.geometry
    top, left, height, width = geometry.crop
    assert (left, left + width) == pytest.approx((80 - 30, 80 + 31), abs=14)
    assert (top, top + height) == pytest.approx((60 - 30, 60 + 31), abs=14)
    assert (geometry.frame, geometry.viewed) == (FRAME, (height, width))
    assert f"the frame is cropped to {width} x {height} of its 240 x 160 pixels" in bundle.model_card
    report = trained.with_suffix(".html").read_text(encoding="utf-8")
    assert f"cropped to {width} x {height} from column {left} and row {top} on" in report


def test_scores_depend_on_the_crop_alone(bundle, engine):
    top, left, height, width = bundle.manifest.geometry.crop
    frame = picture(300)
    changed = np.full_like(frame, 255)
    changed[top : top + height, left : left + width] = frame[top : top + height, left : left + width]
    assert engine.infer(changed).score == engine.infer(frame).score


def test_defects_are_found_where_they_lie_in_the_frame(bundle, engine, trained, data):
    scores = engine.infer(picture(301, spot=True))
    boxes = find_boxes(scores.map, bundle.manifest.calibration.threshold, FRAME)
    assert len(boxes) == 1
    assert boxes[0].x <= SPOT[0] <= boxes[0].x + boxes[0].width
    assert boxes[0].y <= SPOT[1] <= boxes[0].y + boxes[0].height
    found = evaluate(trained, data)
    assert found.image_auroc == 1.0
    assert found.pixel_auroc > 0.9


def test_the_gate_covers_the_crop(bundle, monkeypatch):
    golden = bundle.golden()
    assert {frame.shape for frame in golden.frames} == {(*FRAME, 3)}
    assert min(golden.scores[3:]) > max(golden.scores[:3])
    cut = module.Crop.cut
    monkeypatch.setattr(module.Crop, "cut", lambda crop, frame: np.roll(cut(crop, frame), 3, axis=1))
    with pytest.raises(ParityFailure):
        load_engine(bundle, "cpu")


def test_a_review_shows_the_heatmap_in_its_place(trained, bundle, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("trainer.review.review.judged", lambda *of: shown.append(of[1]) or (b"", b"", b""))
    review(trained, None, tmp_path / "review.html", 3, load_engine)
    top, left, height, width = bundle.manifest.geometry.crop
    for score_map in shown:
        rows, columns = np.flatnonzero(score_map.any(1)), np.flatnonzero(score_map.any(0))
        scale = FRAME[0] / score_map.shape[0], FRAME[1] / score_map.shape[1]
        assert top - scale[0] <= rows[0] * scale[0] <= rows[-1] * scale[0] <= top + height
        assert left - scale[1] <= columns[0] * scale[1] <= columns[-1] * scale[1] <= left + width
    assert len(shown) >= 3
