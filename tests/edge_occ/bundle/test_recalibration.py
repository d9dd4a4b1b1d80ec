"""Frames that a recalibration takes and refuses, on features and scores alone."""

import numpy as np
import pytest
from discs import part

from edge_occ.bundle.bundle import GOLDEN, HEAD, Bundle, make_bundle, read_bundle
from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.provenance import Exposure
from edge_occ.bundle.recalibration import (
    MIN_FRAMES,
    MIN_HELD_OUT,
    NewFrames,
    frames_needed,
    held_out_count,
    recalibrate,
    require_fitter,
)
from edge_occ.common.errors import BundleRefused, InputError
from edge_occ.output.preview import preview

LIGHT = Exposure(mean=(50, 60), deviation=(20, 30), repeated_rows=0.01)
PARENT = "0" * 64


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return read_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def features(bundle):
    """Of 120 parts, the last 30 of them much brighter."""
    engine = load_engine(bundle, "cpu").engine
    frames = [part(1000 + i) for i in range(90)]
    frames += [np.clip(part(2000 + i) * 1.8, 0, 255).astype(np.uint8) for i in range(30)]
    found = np.concatenate([engine.features(frame)[0][None] for frame in frames])
    engine.close()
    return found


def with_features(features):
    return NewFrames((features,), np.array([]), 1, LIGHT, True, {"black": 2})


def with_scores(scores):
    return NewFrames((), np.array(scores, float), 1, LIGHT, True, {})


def at_rate(bundle, rate):
    """The bundle with another declared rate, for which fewer frames are enough."""
    fields = bundle.manifest.model_dump(exclude={"members"})
    return make_bundle({**fields, "calibration": calibrate(bundle.held_out, rate)}, bundle.members)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.4])
def test_enough_frames_are_left_to_certify_the_rate(rate):
    needed = frames_needed(rate)
    for count in range(needed, needed + 200):
        held_out = held_out_count(count, rate)
        assert MIN_HELD_OUT <= held_out <= max(MIN_HELD_OUT, round(0.2 * count))
        assert calibrate(np.arange(float(count - held_out)), rate).certified
        assert count - held_out >= MIN_FRAMES
    assert held_out_count(1000, rate) == 200


def test_heads_and_threshold_are_those_of_the_first_frames(bundle, features):
    current = at_rate(bundle, 0.05)
    fitter = require_fitter(current)
    done = recalibrate(current, with_features(features[:90]), fitter, PARENT, preview)
    held_out = held_out_count(90, 0.05)
    expected = fitter.fit([features[: 90 - held_out]], 0.05)
    assert done.bundle.manifest.calibration == expected.calibration
    assert done.threshold.threshold == expected.calibration.threshold
    np.testing.assert_allclose(done.bundle.head["mean"], expected.head["mean"], rtol=1e-6)
    scores = fitter.scores(expected.head, [features[90 - held_out : 90]])
    assert done.record.false_alarms == (scores > expected.calibration.threshold).sum()
    record = done.bundle.manifest.recalibrated
    assert record == done.record
    assert (record.frames, record.held_out, record.threshold_only, record.parent) == (90, held_out, False, PARENT)
    assert record.left_out == {"black": 2}
    assert done.bundle.manifest.training.exposure == LIGHT
    assert done.bundle.manifest.identity != current.manifest.identity
    assert done.before == current.manifest


def test_golden_scores_are_those_of_the_new_head(bundle, features):
    current = at_rate(bundle, 0.05)
    done = recalibrate(current, with_features(features[:90]), require_fitter(current), PARENT, preview)
    new, old = done.bundle.golden(), current.golden()
    assert all(np.array_equal(a, b) for a, b in zip(new.frames, old.frames, strict=True))
    engine = load_engine(done.bundle, "cpu").engine
    np.testing.assert_allclose([engine.infer(frame).score for frame in new.frames], new.scores, rtol=1e-3)
    engine.close()
    assert not np.allclose(new.scores, old.scores, rtol=1e-3)
    # Again from the new one: what was fitted can be fitted.
    require_fitter(done.bundle)
    assert done.bundle.members[GOLDEN] != current.members[GOLDEN]


def test_frames_that_change_in_the_end_are_refused(bundle, features):
    current = at_rate(bundle, 0.05)
    with pytest.raises(InputError, match=r"at most 4 false alarms among 22 frames .* found 22 above"):
        recalibrate(current, with_features(features[:112]), require_fitter(current), PARENT, preview)


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 104), (0.05, 24), (0.4, 13)])
def test_too_few_frames_are_refused_with_the_number_that_the_rate_takes(bundle, features, rate, needed):
    current = at_rate(bundle, rate)
    with pytest.raises(
        InputError, match=f"at least {needed} frames: .* {needed - 1} that can be used.*--threshold-only"
    ):
        recalibrate(current, with_features(features[: needed - 1]), require_fitter(current), PARENT, preview)


def test_the_threshold_alone_takes_few_frames_and_says_what_they_certify(bundle):
    scores = np.random.default_rng(0).gamma(4, 1, 15)
    done = recalibrate(bundle, with_scores(scores), None, PARENT, preview)
    assert done.bundle.manifest.calibration == calibrate(scores[:10], 0.01)
    assert not done.bundle.manifest.calibration.certified
    assert done.record.threshold_only
    assert "cannot certify the declared rate" in done.bundle.model_card
    for name, tensor in bundle.head.items():
        np.testing.assert_array_equal(done.bundle.head[name], tensor)
    assert {name for name, data in bundle.members.items() if data != done.bundle.members[name]} == {
        HEAD,
        "MODEL_CARD.md",
    }
    with pytest.raises(InputError, match="at least 13 frames"):
        recalibrate(bundle, with_scores(scores[:12]), None, PARENT, preview)
    with pytest.raises(InputError, match="false alarms"):
        recalibrate(bundle, with_scores([*scores, 50, 50, 50, 50, 50]), None, PARENT, preview)


def test_the_card_tells_of_the_last_recalibration_only(bundle):
    scores = np.random.default_rng(0).gamma(4, 1, 15)
    once = recalibrate(bundle, with_scores(scores), None, PARENT, preview)
    twice = recalibrate(once.bundle, with_scores(scores), None, "1" * 64, preview)
    card = twice.bundle.model_card
    assert card.count("## Recalibration") == 1
    assert card.startswith(bundle.model_card.rstrip())
    assert "1" * 64 in card
    assert PARENT not in card


def test_frames_that_do_not_vary_are_refused(bundle, features):
    current = at_rate(bundle, 0.05)
    with pytest.raises(InputError, match="frames that vary enough"):
        recalibrate(current, with_features(np.ones_like(features[:40])), require_fitter(current), PARENT, preview)


@pytest.mark.parametrize(
    "change",
    [
        {"sigma": 9.0},
        {"image_score": "top", "top_fraction": 0.2},
        {"standardise": True},
        {"branch": 1},
    ],
)
def test_a_recipe_that_is_not_the_graphs_is_refused(bundle, change):
    recipe = bundle.manifest.recipe
    branches = recipe.branches * 2 if "branch" in change else recipe.branches
    other = recipe.model_copy(update={"heads": (recipe.heads[0].model_copy(update=change),), "branches": branches})
    with pytest.raises(BundleRefused, match="a recipe that"):
        require_fitter(Bundle(bundle.manifest.model_copy(update={"recipe": other}), bundle.members))


def test_a_recipe_of_another_grid_or_region_is_refused(bundle):
    recipe = bundle.manifest.recipe
    for update in (
        {"branches": (recipe.branches[0].model_copy(update={"grid": (7, 7)}),)},
        {"region": (3, 4), "heads": (recipe.heads[0].model_copy(update={"in_region": True}),)},
    ):
        other = recipe.model_copy(update=update)
        with pytest.raises(BundleRefused, match="a recipe that"):
            require_fitter(Bundle(bundle.manifest.model_copy(update={"recipe": other}), bundle.members))


def test_a_bundle_without_a_recipe_keeps_its_heads(bundle):
    older = Bundle(bundle.manifest.model_copy(update={"recipe": None}), bundle.members)
    with pytest.raises(InputError, match=r"with a recipe to fit them.*--threshold-only"):
        require_fitter(older)
