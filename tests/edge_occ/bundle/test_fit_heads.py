"""Heads and thresholds from numpy features, where there is no torch."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.covariance import Regularisation
from edge_occ.bundle.fit_heads import fit_and_calibrate
from edge_occ.bundle.gaussian import GaussianSettings, fit_gaussian
from edge_occ.bundle.leave_one_out import leave_one_out
from edge_occ.bundle.standardise import log_scale
from engines.base import heads_among


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


def test_a_standardised_head_of_a_region():
    """Each image is standardised without itself, and the tensors are those of the head that is kept."""
    normal, settings = features(), GaussianSettings()
    region = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], bool)
    fitted = fit_and_calibrate(normal, settings, 0.05, highest, region=region, standardise=True)
    grids = leave_one_out(normal, settings, region=region)
    assert grids.shape == (40, 1, 5)
    expected = [log_scale(np.delete(grids, k, 0), region).apply(grids[k : k + 1]).max() for k in range(len(normal))]
    np.testing.assert_allclose(fitted.held_out, expected)
    tensors = fitted.tensors()
    scale = log_scale(grids, region)
    np.testing.assert_array_equal(tensors["log_mean"], scale.mean.astype(np.float32))
    np.testing.assert_array_equal(tensors["log_deviation"], scale.deviation.astype(np.float32))
    np.testing.assert_array_equal(tensors["mean"], fit_gaussian(normal, settings, region).tensors()["mean"])
    assert heads_among(tensors) == ("gaussian-standardised",)
    assert heads_among(fit_and_calibrate(normal, settings, 0.05, highest).tensors()) == ("gaussian",)


def test_directions_that_are_kept_cannot_be_left_out():
    settings = GaussianSettings(regularisation=Regularisation("low-rank", components=2))
    with pytest.raises(ValueError, match="low-rank"):
        fit_and_calibrate(features(), settings, 0.05, highest)


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
        member = head_member(fitted.tensors(), fitted.held_out)
        head, held_out = head_from(member)
        assert {name: tensor.shape for name, tensor in head.items()} == {"mean": (3, 4, 5), "whitening": (3, 4, 5, 5)}
        assert (held_out == fitted.held_out).all()
        print(fitted.threshold.verdict(1e6).anomalous, fitted.calibration.n)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("True 30\n", "")
