"""Heads and thresholds from numpy features, where there is no torch."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.covariance import Regularisation
from edge_occ.bundle.fit_heads import fit_and_calibrate, held_out_by_folds
from edge_occ.bundle.gaussian import GaussianSettings, fit_gaussian
from edge_occ.bundle.leave_one_out import leave_one_out


def features(n=40, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3, 4, 5)).astype(np.float32)


def highest(grids):
    return grids.max((1, 2))


@pytest.mark.parametrize("scope", ["shared", "per-position", "position-mean"])
def test_the_threshold_follows_from_leaving_one_out(scope):
    normal, settings = features(), GaussianSettings(scope)
    fitted = fit_and_calibrate(normal, settings, 0.05, highest)
    held_out = highest(leave_one_out(normal, settings))
    np.testing.assert_array_equal(fitted.held_out, held_out)
    assert fitted.calibration == calibrate(held_out, 0.05)
    np.testing.assert_array_equal(fitted.gaussian.whitening, fit_gaussian(normal, settings).whitening)
    verdicts = [fitted.threshold.verdict(float(score)) for score in held_out]
    assert sum(v.anomalous for v in verdicts) == 1
    assert all(v.anomalous == (v.p_value <= 0.05) for v in verdicts)


def test_folds_are_scored_by_the_other_folds():
    normal, settings = features(), GaussianSettings(regularisation=Regularisation("low-rank", components=2))
    fold_of = np.arange(40) % 3
    fitted = fit_and_calibrate(normal, settings, 0.05, highest, fold_of)
    for fold in range(3):
        others = fit_gaussian(normal[fold_of != fold], settings)
        np.testing.assert_array_equal(fitted.held_out[fold_of == fold], highest(others.score(normal[fold_of == fold])))


def test_one_fold_holds_nothing_out():
    with pytest.raises(ValueError, match="two folds"):
        held_out_by_folds(features(4), GaussianSettings(), np.zeros(4, np.int64))


def test_as_many_folds_as_images_are_leaving_one_out():
    """With a ridge, which does not depend on the images."""
    normal = features(9)
    settings = GaussianSettings("per-position", Regularisation("ridge", ridge=0.5, floor=0), 3)
    np.testing.assert_allclose(
        held_out_by_folds(normal, settings, np.arange(9)), leave_one_out(normal, settings), rtol=1e-9
    )


def test_a_head_is_fitted_stored_and_read_where_torch_cannot_be_imported():
    program = """
        import sys
        sys.modules["torch"] = sys.modules["trainer"] = None  # importing either raises ImportError
        import numpy as np
        from edge_occ.bundle.fit_heads import fit_and_calibrate
        from edge_occ.bundle.gaussian import GaussianSettings
        from edge_occ.bundle.tensors import head_from, head_member

        try:
            import torch
        except ImportError:
            pass
        else:
            sys.exit("torch was imported")
        features = np.random.default_rng(0).normal(size=(30, 3, 4, 5)).astype(np.float32)
        fitted = fit_and_calibrate(features, GaussianSettings(), 0.05, lambda grids: grids.max((1, 2)))
        member = head_member(fitted.gaussian.tensors(), fitted.held_out)
        head, held_out = head_from(member)
        assert {name: tensor.shape for name, tensor in head.items()} == {"mean": (3, 4, 5), "whitening": (3, 4, 5, 5)}
        assert (held_out == fitted.held_out).all()
        print(fitted.threshold.verdict(1e6).anomalous, fitted.calibration.n)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("True 30\n", "")
