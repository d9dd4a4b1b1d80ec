"""Heads and threshold again from stored features, against a fit on the images that are left."""

import shutil
from contextlib import closing

import cv2
import numpy as np
import pytest
import torch
from discs import part
from small_training import SMALL

from edge_occ.bundle import exchange
from edge_occ.bundle.bundle import MODEL_CARD, PREVIEW, read_bundle, write_bundle
from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.loading import load_engine
from edge_occ.common.errors import InputError, ParityFailure
from edge_occ.common.images import find_images, read_image
from trainer.calibration.held_out import Shots, held_out_scores
from trainer.config import TrainConfig
from trainer.heads.build import fit_head
from trainer.job import Job
from trainer.review.changed_images import without
from trainer.review.refit import refit
from trainer.review.stored_features import features_path, read_features
from trainer.train import train

SPOILT = ("train/good/005.png", "train/good/011.png")


def read(path):
    bundle = read_bundle(path)
    return bundle, read_features(path, bundle.manifest)


def test_the_new_bundle_is_that_of_the_images_left(own_bundle, judged, tmp_path):
    """Threshold, head and golden scores, each computed again in another way."""
    before = own_bundle.read_bytes()
    old, stored = read(own_bundle)
    done = refit(own_bundle, judged(own_bundle, **{"train/good/001.png": "unsure"}), tmp_path / "new.occ")
    assert own_bundle.read_bytes() == before
    assert done.excluded == SPOILT
    new, left = read(tmp_path / "new.occ")
    assert left.images.names == tuple(name for name in stored.images.names if name not in SPOILT)
    keep = [i for i, name in enumerate(stored.images.names) if name not in SPOILT]
    features = torch.from_numpy(stored.features[0][keep].astype(np.float32))
    settings = TrainConfig.model_validate(old.manifest.training.config)
    head = fit_head(features, settings.head)
    for name, tensor in head.tensors().items():
        np.testing.assert_allclose(new.head[name], tensor.numpy(), rtol=1e-5)
    shots = Shots.of(torch.arange(len(keep)), 3, 0)
    scores = held_out_scores(features, settings.head, shots)
    # The highest value of a smoothed map is at most that of its grid, and near it.
    ratio = left.scores / scores.amax((1, 2)).numpy()
    assert (ratio <= 1.001).all()
    assert (ratio > 0.3).all()
    np.testing.assert_array_equal(new.held_out, left.scores)
    assert new.manifest.calibration == calibrate(new.held_out, 0.01)
    assert new.manifest.calibration.n == 22
    assert new.manifest.calibration.threshold < old.manifest.calibration.threshold
    assert done.before == old.manifest
    assert done.after == new.manifest


def test_nothing_is_exported_anew_and_the_gate_passes(own_bundle, judged, tmp_path):
    old = read_bundle(own_bundle)
    refit(own_bundle, judged(own_bundle), tmp_path / "new.occ")
    new = read_bundle(tmp_path / "new.occ")
    for name in ("graph.fp32.onnx", "encoder.fp32.onnx"):
        assert new.members[name] == old.members[name]
    for name in ("head.safetensors", "golden.safetensors", PREVIEW, MODEL_CARD):
        assert new.members[name] != old.members[name]
    assert new.manifest.identity != old.manifest.identity
    for frame, same in zip(new.golden().frames, old.golden().frames, strict=True):
        assert np.array_equal(frame, same)
    for engine in ("cpu", "opencv", "openvino"):
        with closing(load_engine(new, engine, "fp32").engine) as loaded:
            scores = [loaded.infer(frame).score for frame in new.golden().frames]
        np.testing.assert_allclose(scores, new.golden().scores, rtol=1e-3)


def test_manifest_and_card_count_what_was_taken_out(own_bundle, judged, tmp_path):
    refit(own_bundle, judged(own_bundle), tmp_path / "new.occ")
    bundle = read_bundle(tmp_path / "new.occ")
    training = bundle.manifest.training
    assert (training.excluded, training.images, training.parts) == (SPOILT, 22, 22)
    card = " ".join(bundle.model_card.split())
    assert "trained on 22 images of 22 different good parts" in card
    assert (
        "2 images that a person called defective were taken out of heads and threshold after the training: "
        "train/good/005.png, train/good/011.png. The guarantee is about parts like those that are left." in card
    )
    assert "made anew after the training" in card


def test_a_refit_can_be_reviewed_and_refitted_again(own_bundle, judged, tmp_path):
    first = refit(own_bundle, judged(own_bundle, SPOILT[:1]), tmp_path / "first.occ")
    second = refit(tmp_path / "first.occ", judged(tmp_path / "first.occ", SPOILT[1:]), tmp_path / "second.occ")
    at_once = refit(own_bundle, judged(own_bundle), tmp_path / "both.occ")
    assert first.after.training.excluded == SPOILT[:1]
    assert second.after.training.excluded == SPOILT
    assert second.after.calibration == at_once.after.calibration
    assert second.after.members["head.safetensors"] == at_once.after.members["head.safetensors"]


def test_every_precision_gets_the_new_head(tiny_bundle, judged, tmp_path, right_precisions):
    done = refit(tiny_bundle, judged(tiny_bundle, ["train/good/003.png"]), tmp_path / "new.occ")
    new = read_bundle(tmp_path / "new.occ")
    kept = [precision for precision in new.precisions if precision in right_precisions]
    assert set(new.precisions) == {"fp32", "fp16", "int8"} - {line.split()[0] for line in done.left_out}
    for precision in kept:
        assert load_engine(new, "cpu", precision).parity.flipped == 0
        assert new.tolerance(precision) == read_bundle(tiny_bundle).tolerance(precision)


def test_a_precision_that_fails_the_gate_is_left_out(tiny_bundle, judged, tmp_path, monkeypatch):
    gate = exchange.require_parity

    def strict(engine, golden, tolerance):
        if engine.precision == "fp16":
            raise ParityFailure("scores within 3e-2", "score error 1.0e+00", "do not use it")
        return gate(engine, golden, tolerance)

    monkeypatch.setattr(exchange, "require_parity", strict)
    done = refit(tiny_bundle, judged(tiny_bundle, ["train/good/003.png"]), tmp_path / "new.occ")
    bundle = read_bundle(tmp_path / "new.occ")
    assert "fp16 is left out of the new bundle: score error 1.0e+00" in done.left_out
    assert "graph.fp16.onnx" not in bundle.members
    assert "fp16" not in bundle.manifest.parity_tolerance
    record = bundle.manifest.precisions["fp16"]
    assert (record.included, record.reason) == (False, "score error 1.0e+00")
    assert "There is no fp16 graph: score error 1.0e+00." in bundle.model_card


def trained(data, out, **changes):
    train(Job(data, out, TrainConfig.model_validate({**SMALL, **changes}), "small", 0, "cpu", "edge-occ train"))
    return out


def test_shots_of_one_part_and_changed_copies_keep_their_places(tmp_path, judged):
    """Part 2 has three shots; one of them is taken out, and the copies of that one with it."""
    folder = tmp_path / "shots"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(12):
        image = part(i)
        cv2.circle(image, (30 + 4 * i, 40 + 4 * i), 12, (90, 60, 30), -1)
        for shot in range(3 if i == 2 else 1):
            noisy = (image + generator.normal(0, 2, image.shape)).round().clip(0, 255).astype(np.uint8)
            assert cv2.imwrite(str(folder / f"{i:02}_{shot}.png"), noisy)
    bundle = trained(folder, tmp_path / "x.occ", camera_changes={"copies": 2})
    _, stored = read(bundle)
    assert stored.features[0].shape == (3 * 14, 5, 5, 8)
    assert stored.scores.shape == (14,)
    done = refit(bundle, judged(bundle, ["02_1.png"]), tmp_path / "new.occ")
    _, left = read(tmp_path / "new.occ")
    kept = [i for i, name in enumerate(stored.images.names) if name != "02_1.png"]
    expected = stored.features[0].reshape(3, 14, 5, 5, 8)[:, kept].reshape(39, 5, 5, 8)
    np.testing.assert_array_equal(left.features[0], expected)
    assert left.images.parts == tuple(stored.images.parts[i] for i in kept)
    assert done.after.calibration.n == done.before.calibration.n == 12
    assert (done.after.training.images, done.after.training.parts) == (13, 12)
    lone = without(stored, ["00_0.png"])
    assert lone.images.parts == (0, 1, 1, 1, *range(2, 11))


def test_several_branches_and_heads_of_other_kinds_are_fitted_again(tmp_path, spoilt_data, judged):
    settings = {
        "head": {"dim": 8, "scope": ["shared"], "further_kinds": ["knn"], "references": 50},
        "further_branches": [
            {
                "encoder": {"width": 4, "dim": 16, "stride": 16},
                "head": {"dim": 6, "scope": "position-mean"},
                "pretext": {"name": "none"},
            }
        ],
    }
    bundle = trained(spoilt_data, tmp_path / "x.occ", **settings)
    done = refit(bundle, judged(bundle), tmp_path / "new.occ")
    new, left = read(tmp_path / "new.occ")
    assert [of.shape[0] for of in left.features] == [22, 22]
    assert len(done.after.head["branches"]) == 2
    with closing(load_engine(new, "cpu", "fp32").engine) as engine:
        good = [engine.infer(read_image(path)).score for path in find_images(spoilt_data / "train" / "good")]
    assert np.median(good) < new.manifest.calibration.threshold
    np.testing.assert_allclose(new.held_out, left.scores, rtol=1e-6)


def test_a_head_that_grows_with_the_images_is_refused(tmp_path, spoilt_data, judged):
    bundle = trained(spoilt_data, tmp_path / "x.occ", head={"dim": 8, "kind": "nearest", "scope": "shared"})
    with pytest.raises(InputError, match="grow with the number of images"):
        refit(bundle, judged(bundle), tmp_path / "new.occ")
    assert not (tmp_path / "new.occ").exists()


def test_a_whole_image_model_is_fitted_again(tmp_path, whole_image_bundle, judged):
    assert read(whole_image_bundle)[1].maps is None
    done = refit(whole_image_bundle, judged(whole_image_bundle), tmp_path / "new.occ")
    assert done.after.calibration.n == 22
    load_engine(read_bundle(tmp_path / "new.occ"), "cpu", "fp32").engine.close()


def test_too_few_parts_left_are_refused(tmp_path, judged):
    folder = tmp_path / "few"
    folder.mkdir()
    for i in range(10):
        image = part(i % 8)
        cv2.circle(image, (30 + 6 * (i % 8), 40 + 5 * (i % 8)), 12, (90, 60, 30), -1)
        image[0, 0] = i  # two parts are shown twice
        assert cv2.imwrite(str(folder / f"{i}.png"), image)
    bundle = trained(folder, tmp_path / "x.occ")
    with pytest.raises(InputError, match="at least 8 different good parts"):
        refit(bundle, judged(bundle, ["5.png"]), tmp_path / "new.occ")


def test_the_given_bundle_is_never_replaced(own_bundle, judged, tmp_path):
    before = own_bundle.read_bytes()
    (tmp_path / "link.occ").symlink_to(own_bundle)
    for out in (own_bundle, own_bundle.parent / "." / own_bundle.name, tmp_path / "link.occ"):
        with pytest.raises(InputError, match="another file than"):
            refit(own_bundle, judged(own_bundle), out)
    assert own_bundle.read_bytes() == before


@pytest.mark.parametrize("name", ["new.occ", "new.features.safetensors"])
def test_a_users_file_is_not_replaced(own_bundle, judged, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="did not write"):
        refit(own_bundle, judged(own_bundle), tmp_path / "new.occ")
    assert (tmp_path / name).read_text() == "mine"


def test_a_bundle_without_features_and_one_with_those_of_another_are_refused(own_bundle, tiny_bundle, judged, tmp_path):
    shutil.copy(features_path(tiny_bundle), features_path(own_bundle))
    with pytest.raises(InputError, match="the features of this bundle"):
        refit(own_bundle, judged(own_bundle), tmp_path / "new.occ")
    features_path(own_bundle).unlink()
    with pytest.raises(InputError, match="no such file"):
        refit(own_bundle, judged(own_bundle), tmp_path / "new.occ")
    assert not (tmp_path / "new.occ").exists()


def test_settings_of_another_version_are_refused(own_bundle, judged, tmp_path):
    bundle = read_bundle(own_bundle)
    training = bundle.manifest.training
    later = training.model_copy(update={"config": {**training.config, "telepathy": True}})
    fields = {name: getattr(bundle.manifest, name) for name in type(bundle.manifest).model_fields if name != "members"}
    write_bundle(own_bundle, {**fields, "training": later}, bundle.members)
    with pytest.raises(InputError, match="telepathy"):
        refit(own_bundle, judged(own_bundle), tmp_path / "new.occ")
