"""A training on parts in any direction, and the device on frames with and without a pose."""

import json

import cv2
import numpy as np
import pytest
from discs import write
from parts import picture, together
from typer.testing import CliRunner

from edge_occ.bundle import pre_stage
from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.pose import NoPose, turn
from edge_occ.bundle.pre_stage import PreStage
from edge_occ.cli import app
from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images, read_image
from edge_occ.inspection.regions import find_boxes
from edge_occ.inspection.scoring import score_frame
from edge_occ.output.evidence.label import mark
from edge_occ.sources.faults import GUARDED, POSELESS, Reason, Unscored
from engines.errors import ParityFailure
from trainer.config import TrainConfig
from trainer.data.images import find_normal_images, read_frames
from trainer.data.posed_images import posed_images
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.review.pictures import judged
from trainer.review.refit import refit
from trainer.review.review import review
from trainer.train import train

SETTINGS = {
    "input": {"size": 128},
    "pose": {"mode": "auto"},
    "encoder": {"name": "lite0", "blocks": [0, 1]},
    "pretext": {"name": "none"},
    "head": {"scope": "per-position", "dim": 8, "floor": 0.05},
    "calibration": {"folds": 2, "false_alarm_rate": 0.1},
    "export": {"fp16": False, "int8": False},
}

EMPTY = np.full((256, 256, 3), 200, np.uint8)


def part(index, spot=False):
    """A part in its own direction and place, perhaps with a spot on its head, and where that is."""
    random = np.random.default_rng(index)
    degrees, (x, y) = random.uniform(0, 360), random.uniform(115, 141, 2)
    frame = picture(degrees=degrees, centre=(x, y)).astype(float)
    frame = np.clip(frame + random.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
    place = (x - 50 * np.cos(np.radians(degrees)), y - 50 * np.sin(np.radians(degrees)))
    if spot:
        cv2.circle(frame, tuple(round(value) for value in place), 5, (20, 20, 160), -1)
    return frame, place


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pins")
    for index in range(20):
        write(folder / "train" / "good" / f"{index:03}.png", part(index)[0])
    write(folder / "train" / "good" / "left.png", picture(degrees=200, centre=(30, 128)))
    for index in range(100, 104):
        write(folder / "test" / "good" / f"{index}.png", part(index)[0])
        write(folder / "test" / "spot" / f"{index}.png", part(index, spot=True)[0])
    write(folder / "test" / "spot" / "two.png", together(picture(centre=(128, 60)), picture(centre=(128, 190))))
    write(folder / "test" / "good" / "edge.png", picture(centre=(40, 128)))
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "pins.occ"
    train(Job(data, out, TrainConfig.model_validate(SETTINGS), "tiny", 0, "cpu", "edge-occ train"))
    return out


@pytest.fixture(scope="module")
def bundle(trained):
    return read_bundle(trained)


@pytest.fixture(scope="module")
def engine(bundle):
    loaded = load_engine(bundle, "cpu").engine
    yield loaded
    loaded.close()


def test_the_bundle_describes_the_pose(bundle):
    geometry, training = bundle.manifest.geometry, bundle.manifest.training
    assert geometry.frame == (256, 256)
    assert geometry.pose.skewness > 0
    assert geometry.viewed == (geometry.pose.height, geometry.pose.width)
    # The cut-out is longer than wide, and so is what the graph sees.
    assert geometry.size == (64, 192)
    assert training.images == 20
    assert [line.split(": ")[0].split("/")[-1] for line in training.skipped] == ["left.png"]
    assert "part at the edge" in training.skipped[0]


def test_a_refit_skips_frames_of_events_without_a_pose(trained, tmp_path):
    for number, frame in enumerate((part(200)[0], EMPTY)):
        event = tmp_path / "left" / "2026-11-29" / f"10233{number}.000Z-e"
        write(event / "start-000001" / "frame.png", frame)
        mark(tmp_path, event.relative_to(tmp_path).as_posix(), "good")
    done = refit(trained, None, tmp_path / "new.occ", evidence=tmp_path)
    assert (len(done.added.names), done.added.without_pose) == (1, 1)
    assert done.after.training.images == 21
    (tmp_path / done.added.names[0].removeprefix("evidence:")).unlink()
    with pytest.raises(InputError, match="none; 0 are among them, 1 have no pose"):
        refit(trained, None, tmp_path / "again.occ", evidence=tmp_path)


def test_golden_frames_are_whole_and_some_are_defective(bundle):
    golden, stage = bundle.golden(), bundle.manifest.geometry.pre_stage
    assert {frame.shape for frame in golden.frames} == {(256, 256, 3)}
    assert min(golden.scores[3:]) > max(golden.scores[:3])
    for precision in bundle.precisions:
        loaded = load_engine(bundle, "cpu", precision)
        assert loaded.parity.score_error <= bundle.tolerance(precision)
        loaded.engine.close()
    assert not np.array_equal(stage.prepared(golden.frames[0]), golden.frames[0])


def test_the_gate_covers_the_cutting(bundle, monkeypatch):
    monkeypatch.setattr(pre_stage, "turn", lambda *arguments: _moved(*turn(*arguments)))
    with pytest.raises(ParityFailure):
        load_engine(bundle, "cpu")


def _moved(cut, rectangle):
    return np.roll(cut, 2, axis=1), rectangle


@pytest.mark.parametrize("degrees", [0, 37, 90, 141, 222, 305])
def test_a_part_in_any_direction_has_the_same_score(engine, bundle, degrees):
    threshold = bundle.manifest.calibration.threshold
    good = engine.infer(picture(degrees=degrees, centre=(120, 130))).score
    assert good < threshold
    # A defect in one direction is one in every direction.
    spoilt = picture(degrees=degrees, centre=(120, 130))
    angle = np.radians(degrees)
    cv2.circle(spoilt, (round(120 - 50 * np.cos(angle)), round(130 - 50 * np.sin(angle))), 5, (20, 20, 160), -1)
    assert engine.infer(spoilt).score > 2 * threshold


def test_map_and_boxes_are_in_the_frame(engine, bundle):
    threshold = bundle.manifest.calibration.threshold
    for index in range(100, 104):
        frame, (x, y) = part(index, spot=True)
        scores = engine.infer(frame)
        assert scores.map.shape == (256, 256)
        assert scores.map[:4].max() == 0
        (box, *_) = find_boxes(scores.map, threshold, frame.shape)
        assert box.x - 3 <= x <= box.x + box.width + 3
        assert box.y - 3 <= y <= box.y + box.height + 3
        assert box.width < 60
        assert box.height < 60


def test_a_frame_without_a_pose_is_a_fault(engine):
    with pytest.raises(Unscored) as fault:
        score_frame(engine, EMPTY)
    assert fault.value.reason is Reason.NO_PART
    with pytest.raises(NoPose):
        engine.features(EMPTY)
    assert POSELESS < GUARDED


def test_training_images_equal_the_frames_that_the_device_prepares(bundle, data):
    images = posed_images(find_normal_images(data), "auto")
    assert images.pose == bundle.manifest.geometry.pose
    stage = PreStage(bundle.manifest.geometry.size, images.pose)
    read = [frame.numpy() for frames in read_frames(images.paths, "reading", stage=stage) for frame in frames]
    for frame, path in zip(read, images.paths, strict=True):
        np.testing.assert_array_equal(frame, stage.prepared(read_image(path)))


def test_an_evaluation_counts_faults_as_neither_found_nor_alarm(trained, data):
    result = evaluate(trained, data)
    content = result.as_json()
    assert content["images"]["good"] == 5
    assert content["images"]["defect"] == 5
    assert content["images"]["faulted"] == {"good": 1, "defect": 1}
    spot = result.per_defect["spot"]
    assert (spot.images, spot.faulted, spot.detected) == (5, 1, 4)
    assert result.image_auroc == 1
    (warning,) = [line for line in result.warnings if "faults" in line]
    assert warning.startswith("1 good and 1 defective images are faults, neither found nor false alarms")
    assert "1 several parts" in warning
    assert "1 part at the edge" in warning


def test_score_prints_the_reason_of_a_fault(trained, tmp_path):
    write(tmp_path / "empty.png", EMPTY)
    write(tmp_path / "part.png", part(7)[0])
    result = CliRunner().invoke(app, ["score", str(trained), str(tmp_path), "--json"])
    lines = {line["path"].split("/")[-1]: line for line in map(json.loads, result.stdout.splitlines())}
    assert lines["part.png"]["verdict"] == "normal"
    assert lines["empty.png"]["verdict"] == "fault"
    assert lines["empty.png"]["reason"] == "no part"
    assert result.exit_code == 2


def test_parts_that_need_no_turning_stay_as_they_are(tiny_data):
    images = find_normal_images(tiny_data)
    assert posed_images(images, "auto") is images
    assert posed_images(images, "none") is images
    with pytest.raises(InputError, match="other pictures") as error:
        posed_images(images, "turn")
    assert "round" in str(error.value)


def test_a_third_of_the_images_without_a_pose_is_an_error(data, tmp_path):
    for path in find_images(data / "train" / "good")[:8]:
        write(tmp_path / path.name, read_image(path))
    for index in range(5):
        write(tmp_path / f"edge{index}.png", picture(degrees=10 * index, centre=(30, 60 + 25 * index)))
    with pytest.raises(InputError, match="part at the edge") as error:
        posed_images(find_normal_images(tmp_path), "turn")
    assert "5 of 13 images have none" in str(error.value)


def test_eight_parts_must_be_left(data, tmp_path):
    for path in find_images(data / "train" / "good")[:7]:
        write(tmp_path / path.name, read_image(path))
    write(tmp_path / "edge.png", picture(degrees=10, centre=(30, 60)))
    with pytest.raises(InputError, match="with a pose") as error:
        posed_images(find_normal_images(tmp_path), "turn")
    assert "7; 1 image without one" in str(error.value)


def test_a_review_shows_the_heatmap_where_the_part_lies(trained, bundle, engine, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "trainer.review.review.judged",
        lambda frame, score_map, calibration: shown.append((frame, score_map)) or judged(frame, score_map, calibration),
    )
    review(trained, None, tmp_path / "review.html", 3, load_engine)
    assert len(shown) >= 3
    for frame, score_map in shown:
        expected = engine.infer(frame).map
        small = cv2.resize(
            (expected > 0).astype(np.float32), (score_map.shape[1], score_map.shape[0]), interpolation=cv2.INTER_AREA
        )
        assert np.array_equal(score_map[(small == 0) | (small == 1)] > 0, small[(small == 0) | (small == 1)] > 0)
        assert 0 < (small == 1).sum() < small.size / 2
