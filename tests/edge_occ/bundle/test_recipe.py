"""Recipes: what they accept, and regions as runs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pydantic import ValidationError
from recipes import BRANCH, HEAD, recipe

from edge_occ.bundle.recipe import mask_to_runs, runs_to_mask


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=8)))
def test_a_mask_comes_back_from_its_runs(mask):
    if mask.any():
        np.testing.assert_array_equal(runs_to_mask(mask_to_runs(mask), mask.shape), mask)


@given(st.lists(st.integers(-1, 9), max_size=6))
def test_runs_of_another_size_are_refused(runs):
    whole = bool(runs) and min(runs) >= 0 and sum(runs) == 12 and sum(runs[1::2]) > 0
    if whole:
        assert runs_to_mask(tuple(runs), (3, 4)).sum() == sum(runs[1::2])
    else:
        with pytest.raises(ValueError, match="region"):
            runs_to_mask(tuple(runs), (3, 4))


@pytest.mark.parametrize(
    "changes",
    [
        {"heads": []},
        {"heads": [{**HEAD, "branch": 1}]},
        {"heads": [{**HEAD, "in_region": True}]},
        {"heads": [{**HEAD, "sigma": 0}]},
        {"heads": [{**HEAD, "more": 1}]},
        {"score_weights": [1, 1]},
        {"map_weights": [0]},
        {"score_weights": [float("nan")]},
        {"branches": [{**BRANCH, "grid": (0, 6)}]},
        {"folds": 1},
    ],
)
def test_what_cannot_be_followed_is_refused(changes):
    with pytest.raises(ValidationError):
        recipe(**changes)


def test_a_score_map_has_the_positions_of_its_branch_and_the_region_where_the_head_keeps_to_it():
    mask = np.zeros((32, 48), bool)
    mask[:8, :16] = True
    both = recipe(heads=[HEAD, {**HEAD, "in_region": True, "image_score": "top"}], region=mask_to_runs(mask))
    assert both.score_map(0, (32, 48)).region is None
    region = both.score_map(1, (32, 48)).region
    assert region is not None
    assert np.argwhere(region).tolist() == [[0, 0], [0, 1]]
    assert both.score_map(0, (32, 48)).down.shape == (32, 4)
    with pytest.raises(ValueError, match="region"):
        both.score_map(1, (32, 40))
