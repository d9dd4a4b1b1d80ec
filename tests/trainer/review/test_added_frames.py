"""Frames of events marked as good among the good images of a refit."""

import shutil
from contextlib import closing
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from discs import part
from mqtt_helpers import inspection, render
from small_training import SMALL

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.common.errors import InputError
from edge_occ.inspection.events import Phase
from edge_occ.mqtt.topics import Origin
from edge_occ.output.evidence.config import EvidenceConfig
from edge_occ.output.evidence.label import mark
from edge_occ.output.evidence.store import EvidenceStore
from trainer.augment.camera import change_frame
from trainer.config import TrainConfig
from trainer.heads.build import fit_head
from trainer.job import Job
from trainer.review.refit import refit
from trainer.review.review import review
from trainer.review.stored_features import features_path, read_features
from trainer.train import train


def blue(seed):
    """A good part of a rare kind, with a blue ring, which the bundle has not learned."""
    image = part(seed)
    cv2.circle(image, (56, 56), 30, (200, 120, 60), 3)
    return image


@pytest.fixture
def evidence(tmp_path):
    return tmp_path / "evidence"


@pytest.fixture
def event(evidence):
    """Keeps the frames of an event, a start and a peak at most, and marks it; returns the names of its frames."""

    def keep(label, *frames, of="a", camera="left"):
        with EvidenceStore(evidence, EvidenceConfig(), Origin("device", camera), render) as kept:
            for index, (image, phase) in enumerate(zip(frames, (Phase.START, Phase.UPDATE), strict=False), 7):
                shown = inspection(index, 2.0, event=phase, of=of)
                kept.publish(replace(shown, frame=replace(shown.frame, image=image)))
        if label:
            mark(evidence, kept.paths(shown).evidence_record, label)
        found = evidence.glob(f"{camera}/*/*-{of}/*/frame.png")
        return sorted((f"evidence:{path.relative_to(evidence)}" for path in found), reverse=True)

    return keep


def read(path):
    bundle = read_bundle(path)
    return bundle, read_features(path, bundle.manifest)


def test_good_events_are_learned_and_calibrated_with(own_bundle, evidence, event, tmp_path):
    """Features, head and parts, each computed again in another way."""
    names = event("good", blue(300), blue(301))
    event("defect", blue(302), of="b")
    event("", blue(303), of="c")
    before = own_bundle.read_bytes()
    done = refit(own_bundle, None, tmp_path / "new.occ", evidence=evidence)
    assert own_bundle.read_bytes() == before
    assert list(done.added.names) == names
    assert (done.excluded, done.added.known, done.added.without_pose) == ((), 0, 0)
    old, stored = read(own_bundle)
    new, more = read(tmp_path / "new.occ")
    assert more.images.names == (*stored.images.names, *names)
    assert more.images.parts == (*stored.images.parts, 24, 24), "frames of one event show one part"
    with closing(load_engine(old, "cpu", "fp32").engine) as engine:
        of_frames = [engine.features(frame)[0] for frame in (blue(300), blue(301))]
    np.testing.assert_allclose(more.features[0][24:], np.stack(of_frames), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(more.features[0][:24], stored.features[0])
    settings = TrainConfig.model_validate(old.manifest.training.config)
    for name, tensor in (
        fit_head(torch.from_numpy(more.features[0].astype(np.float32)), settings.head).tensors().items()
    ):
        np.testing.assert_allclose(new.head[name], tensor.numpy(), rtol=1e-5)
    assert new.held_out.shape == (25,)
    assert new.held_out[24] == more.scores[24:].max()
    assert new.manifest.calibration.n == 25


def test_parts_of_the_kind_raise_fewer_alarms(own_bundle, evidence, event, tmp_path):
    event("good", blue(300), blue(301))
    refit(own_bundle, None, tmp_path / "new.occ", evidence=evidence)

    def excess(path):
        """Score of another part of the kind, in units of the threshold."""
        bundle = read_bundle(path)
        with closing(load_engine(bundle, "cpu", "fp32").engine) as engine:
            return engine.infer(blue(400)).score / bundle.manifest.calibration.threshold

    assert excess(own_bundle) > 1
    assert excess(tmp_path / "new.occ") < 1


def test_manifest_and_card_count_them_and_say_what_they_do(own_bundle, evidence, event, tmp_path):
    names = event("good", blue(300), blue(301))
    refit(own_bundle, None, tmp_path / "new.occ", evidence=evidence)
    bundle = read_bundle(tmp_path / "new.occ")
    training = bundle.manifest.training
    assert (list(training.added), training.excluded, training.images, training.parts) == (names, (), 26, 25)
    card = " ".join(bundle.model_card.split())
    assert "trained on 26 images of 25 different good parts" in card
    assert "2 of the 26 images are frames of events that a person marked as good" in card
    assert "fewer defects may be found" in card
    assert "not of added frames: `" in card
    assert "from the features of the images that are left and of added frames" in card


def test_the_same_evidence_adds_nothing_twice(own_bundle, evidence, event, judged, tmp_path):
    event("good", blue(300), of="a")
    event("good", blue(300), of="b")
    first = refit(own_bundle, None, tmp_path / "first.occ", evidence=evidence)
    assert (len(first.added.names), first.added.known) == (1, 1), "the same pixels count once"
    with pytest.raises(InputError, match=r"none; 2 are among them, 0 have no pose.*nothing is to be done"):
        refit(tmp_path / "first.occ", None, tmp_path / "second.occ", evidence=evidence)
    assert not (tmp_path / "second.occ").exists()
    exclude = judged(tmp_path / "first.occ")
    both = refit(tmp_path / "first.occ", exclude, tmp_path / "second.occ", evidence=evidence)
    at_once = refit(own_bundle, judged(own_bundle), tmp_path / "once.occ", evidence=evidence)
    assert (len(both.added.names), len(at_once.added.names)) == (0, 1)
    assert both.after.training == at_once.after.training
    assert both.after.calibration == at_once.after.calibration
    assert both.after.members["head.safetensors"] == at_once.after.members["head.safetensors"]


def test_a_later_peak_of_an_event_shows_the_same_part(own_bundle, evidence, event, tmp_path):
    event("good", blue(300))
    refit(own_bundle, None, tmp_path / "first.occ", evidence=evidence)
    start = next(evidence.rglob("start-*"))
    shutil.copytree(start, start.with_name("peak-000099"))
    assert cv2.imwrite(str(start.with_name("peak-000099") / "frame.png"), blue(301))
    done = refit(tmp_path / "first.occ", None, tmp_path / "second.occ", evidence=evidence)
    assert (len(done.added.names), done.added.known) == (1, 1)
    assert read(tmp_path / "second.occ")[1].images.parts[24:] == (24, 24)
    assert done.after.calibration.n == 25


def test_an_event_whose_mark_changes_to_defect_is_taken_out(own_bundle, evidence, event, tmp_path):
    names = event("good", blue(300))
    path = names[0].removeprefix("evidence:")
    refit(own_bundle, None, tmp_path / "first.occ", evidence=evidence)
    mark(evidence, path, "defect")
    second = refit(tmp_path / "first.occ", None, tmp_path / "second.occ", evidence=evidence)
    assert (list(second.excluded), second.added.names) == (names, ())
    before, after = read_bundle(own_bundle).manifest.calibration, second.after.calibration
    # Stored features are rounded to float16, those of the training were not.
    assert (after.n, after.threshold) == (before.n, pytest.approx(before.threshold, rel=1e-2))
    assert (second.after.training.added, list(second.after.training.excluded)) == ((), names)
    mark(evidence, path, "good")
    third = refit(tmp_path / "second.occ", None, tmp_path / "third.occ", evidence=evidence)
    assert (list(third.after.training.added), third.after.training.excluded) == (names, ())


def test_changed_copies_of_frames_come_with_those_of_the_images(spoilt_data, evidence, event, tmp_path):
    config = TrainConfig.model_validate({**SMALL, "camera_changes": {"copies": 2}})
    train(Job(spoilt_data, tmp_path / "x.occ", config, "small", 5, "cpu", "edge-occ train"))
    event("good", blue(300), blue(301))
    refit(tmp_path / "x.occ", None, tmp_path / "new.occ", evidence=evidence)
    old, stored = read(tmp_path / "x.occ")
    _, more = read(tmp_path / "new.occ")
    shape = stored.features[0].shape[1:]
    blocks = more.features[0].reshape(3, 26, *shape)
    np.testing.assert_array_equal(blocks[:, :24], stored.features[0].reshape(3, 24, *shape))
    with closing(load_engine(old, "cpu", "fp32").engine) as engine:
        for i, frame in enumerate((blue(300), blue(301)), 24):
            shown = [frame, *(change_frame(frame, config.camera_changes, 5, copy) for copy in range(2))]
            expected = [engine.features(copy)[0] for copy in shown]
            np.testing.assert_allclose(blocks[:, i], np.stack(expected), rtol=1e-3, atol=1e-4)


def test_a_review_leaves_out_frames_that_a_person_has_judged(own_bundle, evidence, event, tmp_path):
    event("good", blue(300))
    refit(own_bundle, None, tmp_path / "new.occ", evidence=evidence)
    shown = review(tmp_path / "new.occ", None, tmp_path / "r.html", 200, load_engine)
    assert shown.of == len(shown.images) == 24
    assert not any(name.startswith("evidence:") for name, _ in shown.images)


def refused(bundle, evidence, out, *words):
    with pytest.raises(InputError) as error:
        refit(bundle, None, out, evidence=evidence)
    for word in words:
        assert word in str(error.value)
    assert not out.exists()


def test_more_than_a_tenth_of_the_parts_is_refused(own_bundle, evidence, event, tmp_path):
    event("good", blue(300), blue(301))
    refit(own_bundle, None, tmp_path / "first.occ", evidence=evidence)
    event("good", blue(302), of="b")
    refused(
        own_bundle, evidence, tmp_path / "new.occ", "at most a tenth of the 24 good parts", "3 frames", "train again"
    )
    words = "1 frame in addition to 2 of an earlier"
    refused(tmp_path / "first.occ", evidence, tmp_path / "new.occ", "a tenth of the 24", words)


def test_evidence_without_marks_or_with_defects_alone_changes_nothing(own_bundle, evidence, event, tmp_path):
    refused(own_bundle, evidence, tmp_path / "new.occ", "an evidence folder", "No such file")
    event("", blue(300))
    refused(own_bundle, evidence, tmp_path / "new.occ", "none that is marked", "edge-occ dashboard")
    event("defect", blue(300), of="b")
    refused(own_bundle, evidence, tmp_path / "new.occ", "none; 0 are among them", "nothing is to be done")


def test_events_of_two_cameras_are_not_mixed(own_bundle, evidence, event, tmp_path):
    names = event("good", blue(300))
    event("good", blue(301), camera="right", of="b")
    refused(own_bundle, evidence, tmp_path / "new.occ", "one camera", "left, right", f"--evidence {evidence / 'left'}")
    done = refit(own_bundle, None, tmp_path / "new.occ", evidence=evidence / "left")
    assert list(done.added.names) == names


def test_frames_of_another_size_and_damaged_ones_are_refused(own_bundle, evidence, event, tmp_path):
    event("good", cv2.resize(blue(300), (120, 112)))
    refused(own_bundle, evidence, tmp_path / "new.occ", "frames of 112 x 112 pixels", "120 x 112 in", "frame.png")
    next(evidence.rglob("frame.png")).write_bytes(b"no picture")
    refused(own_bundle, evidence, tmp_path / "new.occ", "frame.png")


def test_a_bundle_without_stored_features_is_refused(own_bundle, evidence, event, tmp_path):
    event("good", blue(300))
    features_path(own_bundle).unlink()
    refused(own_bundle, evidence, tmp_path / "new.occ", "the features of", "no such file")


def test_a_refit_needs_something_to_change(own_bundle, tmp_path):
    refused(own_bundle, None, tmp_path / "new.occ", "--exclude FILE, --evidence DIR or both", "neither")
