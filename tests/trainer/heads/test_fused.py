"""Several heads as one: what becomes of their tensors and their sums."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engines.base import heads_among
from trainer.heads.build import CLASSES
from trainer.heads.fused import FusedHead, from_tensors, weighted_sum


def part(kind, dim, side):
    """A head whose tensors are random numbers."""
    shapes = {
        "mean": (side, side, dim),
        "whitening": (side, side, dim, dim),
        "references": (7, dim),
        "weights": (dim if kind == "ocsvm-linear" else 7,),
        "gamma": (1,),
        "offset": (1,),
        "log_mean": (side, side),
        "log_deviation": (side, side),
    }
    return CLASSES[kind](*(torch.randn(shapes[field.name]) for field in fields(CLASSES[kind])))


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        (["gaussian"], ["mean", "whitening"]),
        (["ocsvm"], ["mean", "references", "weights", "gamma"]),
        (["gaussian", "gaussian"], ["mean", "whitening", "mean.1", "whitening.1", "score_weights", "map_weights"]),
        (
            ["gaussian-standardised", "gaussian"],
            [
                *("mean", "whitening", "log_mean", "log_deviation", "mean.1", "whitening.1"),
                *("score_weights", "map_weights"),
            ],
        ),
        (
            ["nearest", "gaussian", "kde", "ocsvm-linear"],
            [
                *("mean", "references", "mean.1", "whitening.1", "mean.2", "references.2", "gamma.2"),
                *("mean.3", "weights.3", "offset.3", "score_weights", "map_weights"),
            ],
        ),
    ],
)
def test_heads_come_back_from_the_graphs_inputs(kinds, names):
    count = len(kinds)
    sides = [3 if kind == "gaussian" and k % 2 else 1 for k, kind in enumerate(kinds)]
    parts = tuple(part(kind, 4 + k, side) for k, (kind, side) in enumerate(zip(kinds, sides, strict=True)))
    head = FusedHead(parts, *torch.rand(2, count))
    tensors = head.tensors()
    assert list(tensors) == names
    assert heads_among(names) == tuple(kinds)
    again = from_tensors(kinds, list(tensors.values()))
    assert len(again.parts) == count
    for found, expected in zip(again.parts, parts, strict=True):
        assert type(found) is type(expected)
        assert all(tensor is expected.tensors()[name] for name, tensor in found.tensors().items())
    if count > 1:
        assert again.score_weights is head.score_weights
        assert again.map_weights is head.map_weights
    else:
        # One alone is not weighted, so nothing is said of its weights.
        assert weighted_sum([torch.tensor([3.0])], again.score_weights).item() == 3


@pytest.mark.parametrize("given_ones", [1, 3])
def test_too_few_or_too_many_tensors_are_no_head(given_ones):
    with pytest.raises((RuntimeError, ValueError)):
        from_tensors(["gaussian", "kde"], [torch.ones(1)] * (5 + given_ones))


@given(count=st.integers(2, 5), seed=st.integers(0, 2**31))
def test_a_weighted_sum_equals_a_loop(count, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, 3, 2, generator=generator)
    weights = torch.rand(count, generator=generator)
    found = weighted_sum(iter(values), weights)
    for i in range(3):
        for j in range(2):
            expected = sum(float(values[k, i, j]) * float(weights[k]) for k in range(count))
            assert float(found[i, j]) == pytest.approx(expected, abs=1e-5)


def test_one_alone_stays_as_it_is():
    value = torch.rand(4)
    assert weighted_sum([value], torch.tensor([0.3])) is value
