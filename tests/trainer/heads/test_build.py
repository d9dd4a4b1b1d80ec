"""Properties of heads of every kind."""

from dataclasses import fields, replace
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_occ.bundle.standardise import LogScale
from engines.base import HEADS
from trainer.config import HeadConfig, HeadKind
from trainer.heads import references
from trainer.heads.build import CLASSES, fit_head

KINDS = get_args(HeadKind)
KEEPING = ("kde", "ocsvm", "nearest", "knn")
EACH = pytest.mark.parametrize("kind", KINDS)


def config(kind, **changes):
    return HeadConfig.model_validate({"kind": kind, "scope": "shared", "dim": 6, **changes})


def features(n, seed=0, rows=2, columns=3, dim=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, rows, columns, dim, generator=generator) + 2 * torch.arange(dim).remainder(2)


def doubled(head):
    return replace(head, **{name: tensor.double() for name, tensor in head.tensors().items()})


@pytest.fixture(scope="module")
def heads():
    """Fitting takes longer than scoring."""
    return {kind: fit_head(features(12), config(kind)) for kind in KINDS}


def test_every_kind_of_the_settings_is_one_of_the_graphs():
    assert {*KINDS, "gaussian-standardised"} == set(CLASSES) == set(HEADS)
    both = HeadConfig(dim=6, scope=("shared", "per-position"), standardise=(False, True), further_kinds=("knn",))
    assert both.graph_kinds == ("gaussian", "gaussian-standardised", "knn")
    for kind, of in CLASSES.items():
        assert {field.name for field in fields(of)} == set(HEADS[kind])


@EACH
def test_a_fitted_head_is_float32_tensors(heads, kind):
    head = heads[kind]
    assert type(head) is CLASSES[kind]
    tensors = head.tensors()
    assert set(tensors) == set(HEADS[kind])
    assert all(tensor.dtype == torch.float32 and torch.isfinite(tensor).all() for tensor in tensors.values())
    again = fit_head(features(12), config(kind)).tensors()
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)


@pytest.mark.parametrize(
    ("kind", "scope"),
    [*((kind, "shared") for kind in KINDS), ("gaussian", "per-position"), ("gaussian", "position-mean")],
)
def test_the_gradient_is_that_of_automatic_differentiation(kind, scope):
    head = doubled(fit_head(features(12), config(kind, scope=scope)))
    for test in (features(4, 1), 100 * features(4, 2), 0.01 * features(4, 3), -features(4, 4)):
        free = test.double().requires_grad_()
        (expected,) = torch.autograd.grad(head.score(free).sum(), free)
        torch.testing.assert_close(head.gradient(test.double()), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scope", ["shared", "per-position", "position-mean"])
def test_the_gradient_of_standardised_scores_is_that_of_automatic_differentiation(scope):
    """There is none where scores are cut off at 0."""
    generator = np.random.default_rng(0)
    scale = LogScale(generator.uniform(3, 5, (2, 3)), generator.uniform(0.2, 0.8, (2, 3)))
    head = doubled(fit_head(features(12), config("gaussian", scope=scope), scale=scale))
    assert type(head) is CLASSES["gaussian-standardised"]
    cut = 0
    for test in (
        features(4, 1),
        100 * features(4, 2),
        -features(4, 4),
        head.tensors()["mean"].expand(2, 3, 6).unsqueeze(0),
    ):
        free = test.double().requires_grad_()
        scores = head.score(free)
        (expected,) = torch.autograd.grad(scores.sum(), free)
        torch.testing.assert_close(head.gradient(test.double()), expected, rtol=1e-6, atol=1e-9)
        cut += int((scores == 0).sum())
    assert cut > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_region_is_a_grid_of_one_row(kind):
    region = np.array([[0, 1, 1], [1, 0, 0]], bool)
    train, test = (of[:, torch.from_numpy(region)].unsqueeze(1) for of in (features(12), features(4, 1)))
    found = fit_head(features(12), config(kind, floor=0), region)
    expected = fit_head(train, config(kind, floor=0))
    torch.testing.assert_close(found.score(test), expected.score(test), rtol=1e-4, atol=1e-5)


@EACH
@settings(max_examples=15)
@given(seed=st.integers(0, 2**31), size=st.sampled_from([0.0, 1e-3, 1.0, 1e4]))
def test_scores_are_finite_and_not_negative(heads, kind, seed, size):
    for test in (size * features(2, seed), features(12)):
        scores = heads[kind].score(test)
        assert scores.shape == test.shape[:3]
        assert torch.isfinite(scores).all()
        assert float(scores.min()) >= 0
        assert torch.isfinite(heads[kind].gradient(test)).all()


@EACH
def test_good_parts_score_lower_than_what_was_never_seen(heads, kind):
    good, other = heads[kind].score(features(20, 5)), heads[kind].score(-features(20, 6))
    assert float(good.quantile(0.95)) < float(other.quantile(0.05))


@pytest.mark.parametrize("kind", KEEPING)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**31))
def test_the_order_of_references_means_nothing(heads, kind, seed):
    head, test = heads[kind], features(4, 1)
    order = torch.randperm(len(head.references), generator=torch.Generator().manual_seed(seed))
    changes = {"references": head.references[order]}
    if kind == "ocsvm":
        changes["weights"] = head.weights[order]
    torch.testing.assert_close(replace(head, **changes).score(test), head.score(test), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["kde", "ocsvm", "nearest"])
def test_the_length_of_features_means_nothing(heads, kind):
    test = features(4, 1)
    torch.testing.assert_close(heads[kind].score(7 * test), heads[kind].score(test), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KEEPING)
def test_a_part_scores_less_with_itself_among_the_references(kind):
    train, one = features(12), features(1, 8)
    without, within = (fit_head(f, config(kind)).score(one) for f in (train, torch.cat((train, one))))
    assert (within < without).float().mean() > 0.8


@EACH
def test_many_images_score_as_one_by_one(heads, kind, monkeypatch):
    monkeypatch.setattr(references, "_AT_ONCE", 1000)  # two images of 6 positions and 72 references
    test = features(7, 1)
    torch.testing.assert_close(heads[kind].score_many(test), heads[kind].score(test))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "gaussian"])
def test_no_head_keeps_more_references_than_asked_for(kind):
    head = fit_head(features(30), config(kind, references=25))
    assert all(len(tensor) <= 25 for tensor in head.tensors().values())
