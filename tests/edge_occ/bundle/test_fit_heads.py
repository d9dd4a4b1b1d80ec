"""Heads and thresholds from numpy features, where there is no torch."""

import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from recipes import HEAD, recipe

from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.fit_heads import HeadFitter
from edge_occ.bundle.fusion import one_score_a_part
from edge_occ.bundle.gaussian import fit_gaussian
from edge_occ.bundle.leave_one_out import leave_one_out
from edge_occ.bundle.recipe import mask_to_runs
from edge_occ.bundle.standardise import log_scale
from engines.base import heads_among

SIZE = (32, 48)


def features(n=40, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 4, 6, 5)).astype(np.float32)


@pytest.mark.parametrize("scope", ["shared", "per-position", "position-mean"])
def test_the_threshold_follows_from_leaving_one_out(scope):
    normal, of = features(), recipe(heads=[{**HEAD, "scope": scope}])
    fitted = HeadFitter(of, SIZE).fit([normal], 0.05)
    held_out = of.score_map(0, SIZE).scores(leave_one_out(normal, of.heads[0].settings))
    np.testing.assert_array_equal(fitted.held_out, held_out)
    assert fitted.calibration == calibrate(held_out, 0.05)
    expected = fit_gaussian(normal, of.heads[0].settings).tensors()
    np.testing.assert_array_equal(fitted.head["whitening"], expected["whitening"])
    verdicts = [fitted.threshold.verdict(float(score)) for score in held_out]
    assert sum(v.anomalous for v in verdicts) == 1
    assert all(v.anomalous == (v.p_value <= 0.05) for v in verdicts)


def test_a_standardised_head_of_a_region():
    """Each image is standardised without itself, and the tensors are those of the head that is kept."""
    normal, mask = features(), np.zeros(SIZE, bool)
    mask[:16, :16] = mask[16:, 40:] = True
    of = recipe(heads=[{**HEAD, "standardise": True, "in_region": True}], region=mask_to_runs(mask))
    fitted = HeadFitter(of, SIZE).fit([normal], 0.05)
    score_map, settings = of.score_map(0, SIZE), of.heads[0].settings
    region = score_map.region
    grids = leave_one_out(normal, settings, region=region)
    assert grids.shape == (40, 1, 6)
    expected = [
        score_map.scores(log_scale(np.delete(grids, k, 0), region).apply(grids[k : k + 1]))[0]
        for k in range(len(normal))
    ]
    np.testing.assert_allclose(fitted.held_out, expected, rtol=1e-5)
    scale = log_scale(grids, region)
    np.testing.assert_array_equal(fitted.head["log_mean"], scale.mean.astype(np.float32))
    np.testing.assert_array_equal(fitted.head["mean"], fit_gaussian(normal, settings, region).tensors()["mean"])
    assert heads_among(fitted.head) == ("gaussian-standardised",)
    maps = HeadFitter(of, SIZE).maps(fitted.head, [normal[:3]])
    assert not maps[:, ~mask].any()
    np.testing.assert_allclose(maps.max((1, 2)), HeadFitter(of, SIZE).scores(fitted.head, [normal[:3]]), rtol=1e-6)


def test_tiles_are_shots_of_their_frame():
    normal, of = features(60), recipe()
    parts = np.repeat(np.arange(20), 3)
    fitted = HeadFitter(of, SIZE).fit([normal], 0.1, parts)
    grids = leave_one_out(normal, of.heads[0].settings, parts=parts)
    np.testing.assert_array_equal(fitted.held_out, one_score_a_part(of.score_map(0, SIZE).scores(grids), parts))
    assert fitted.calibration.n == 20


@pytest.mark.parametrize("change", [{"trim": 0.2}, {"regulariser": "low-rank", "components": 2}])
def test_heads_without_a_closed_form_are_scored_by_folds(change):
    """No image was seen by the head that scores it: a far one has a far larger score than in a fit with it."""
    normal = features()
    normal[7] += 40
    of = recipe(heads=[{**HEAD, **change, "scope": "shared"}])
    fitter = HeadFitter(of, SIZE)
    fitted = fitter.fit([normal], 0.05)
    assert fitted.calibration.n == 40
    assert fitted.held_out.argmax() == 7
    rest = replace(of.heads[0].settings, neighbourhood=1)
    alone = of.score_map(0, SIZE).scores(fit_gaussian(np.delete(normal, 7, 0), rest).score(normal[7:8]))
    assert fitted.held_out[7] == pytest.approx(alone[0], rel=0.3)


def test_several_heads_are_fused_and_the_map_has_the_threshold_of_the_score():
    first, second = features(), features(seed=1)
    of = recipe(
        branches=[{"grid": (4, 6), "first": 4, "stride": 8}] * 2,
        heads=[HEAD, {**HEAD, "branch": 1, "scope": "shared", "standardise": True}],
        score_weights=(1, 3),
    )
    fitter = HeadFitter(of, SIZE)
    fitted = fitter.fit([first, second], 0.05)
    assert heads_among(fitted.head) == ("gaussian", "gaussian-standardised")
    alone = [
        HeadFitter(recipe(heads=[{**head.model_dump(), "branch": 0}]), SIZE).fit([own], 0.05).held_out
        for head, own in zip(of.heads, (first, second), strict=True)
    ]
    expected = 0.25 * alone[0] / alone[0].std() + 0.75 * alone[1] / alone[1].std()
    np.testing.assert_allclose(fitted.held_out, expected, rtol=1e-5)
    further = [features(200, seed=2), features(200, seed=3)]
    scores, maps = fitter.scores(fitted.head, further), fitter.maps(fitted.head, further)
    threshold = fitted.calibration.threshold
    assert maps.shape == (200, *SIZE)
    assert (scores > threshold).mean() == pytest.approx(0.05, abs=0.05)
    assert (maps.max((1, 2)) > threshold).mean() == pytest.approx(0.05, abs=0.05)


def test_a_head_is_fitted_stored_and_read_where_torch_cannot_be_imported():
    program = f"""
        import sys
        sys.modules["torch"] = sys.modules["trainer"] = None  # importing either raises ImportError
        import numpy as np
        from edge_occ.bundle.fit_heads import HeadFitter
        from edge_occ.bundle.recipe import Recipe
        from edge_occ.bundle.tensors import head_from, head_member

        try:
            import torch
        except ImportError:
            pass
        else:
            sys.exit("torch was imported")
        features = np.random.default_rng(0).normal(size=(30, 4, 6, 5)).astype(np.float32)
        recipe = Recipe.model_validate_json('''{recipe().model_dump_json()}''')
        fitted = HeadFitter(recipe, (32, 48)).fit([features], 0.05)
        member = head_member(fitted.head, fitted.held_out)
        head, held_out = head_from(member)
        assert head["mean"].shape == (4, 6, 5)
        assert head["whitening"].shape == (4, 6, 5, 5)
        assert (held_out == fitted.held_out).all()
        print(fitted.threshold.verdict(1e6).anomalous, fitted.calibration.n)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("True 30\n", 0), result.stderr
