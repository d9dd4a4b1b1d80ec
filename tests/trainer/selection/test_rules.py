"""The rules of the model selection."""

import pytest

from edge_occ.bundle.gaussian import Scope
from trainer.config import BranchConfig, SelectionConfig
from trainer.selection.rules import maps_to_try, one_head_for_the_map, one_head_per_branch, scopes_to_try

FROZEN, TRAINED = (BranchConfig.model_validate({"pretext": {"name": name}}) for name in ("none", "cutpaste"))
CONFIG = SelectionConfig(scopes=("shared", "per-position"), sigmas=(2, 4), image_scores=("max", "top"))


@pytest.mark.parametrize(
    ("branch", "aligned", "scopes", "image_scores"),
    [
        (FROZEN, True, ("shared", "per-position", "position-mean"), {"max", "top"}),
        (TRAINED, True, ("shared", "per-position"), {"max", "top"}),
        (FROZEN, False, ("shared", "per-position"), {"max", "top"}),
        (TRAINED, False, ("shared",), {"top"}),
    ],
)
def test_a_trained_encoder_of_unaligned_parts_has_fewer_candidates(branch, aligned, scopes, image_scores):
    assert scopes_to_try(branch, CONFIG, aligned) == scopes
    maps = maps_to_try(branch, CONFIG, aligned)
    assert [(own.sigma, own.image_score) for own in maps] == [(s, i) for s in (2, 4) for i in sorted(image_scores)]


def test_the_best_head_of_every_branch_has_equal_weight():
    assert one_head_per_branch([0, 0, 1, 2, 2, 2, 2], [0.5, 0.6, 0.1, 0.7, 0.7, 0.9, 0.2]) == (
        *(0, 1 / 3, 1 / 3),
        *(0, 0, 1 / 3, 0),
    )


def test_one_head_of_the_best_branch_makes_the_map():
    scopes: tuple[Scope, ...] = ("shared", "per-position", "position-mean", "shared", "per-position")
    for objectives, expected in (
        ((0.9, 0.5, 0.5, 0.8, 0.8), (0, 0, 1, 0, 0)),
        ((0.8, 0.5, 0.5, 0.9, 0.8), (0, 0, 0, 0, 1)),
    ):
        assert one_head_for_the_map([FROZEN, TRAINED], [0, 0, 0, 1, 1], scopes, objectives) == expected
