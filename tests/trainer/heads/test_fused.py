"""Several heads as one: what becomes of their tensors and their sums."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.heads.fused import FusedHead, from_tensors, weighted_sum
from trainer.heads.gaussian import GaussianHead


def heads(count):
    """Every second one shared."""
    generator = torch.Generator().manual_seed(count)
    sides = [3 if k % 2 else 1 for k in range(count)]
    parts = tuple(
        GaussianHead(torch.randn(s, s, 4 + k, generator=generator), torch.randn(s, s, 4 + k, 4 + k).tril())
        for k, s in enumerate(sides)
    )
    return FusedHead(parts, *torch.rand(2, count, generator=generator))


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (1, ["mean", "whitening"]),
        (2, ["mean", "whitening", "mean.1", "whitening.1", "score_weights", "map_weights"]),
        (
            3,
            ["mean", "whitening", "mean.1", "whitening.1", "mean.2", "whitening.2", "score_weights", "map_weights"],
        ),
    ],
)
def test_heads_come_back_from_the_graphs_inputs(count, names):
    head = heads(count)
    tensors = head.tensors()
    assert list(tensors) == names
    again = from_tensors(list(tensors.values()))
    assert len(again.parts) == count
    for part, expected in zip(again.parts, head.parts, strict=True):
        assert part.mean is expected.mean
        assert part.whitening is expected.whitening
    if count > 1:
        assert again.score_weights is head.score_weights
        assert again.map_weights is head.map_weights
    else:
        # One alone is not weighted, so nothing is said of its weights.
        assert weighted_sum([torch.tensor([3.0])], again.score_weights).item() == 3


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
