"""Names of the graph's tensors: heads are recognised by them, and branches ordered."""

from pathlib import Path

import numpy as np
import pytest

from engines.base import HEADS, default_cache, feature_outputs, heads_among, of_head, require_head
from engines.errors import GraphRefused

REST = ("frame", "score_weights", "map_weights", "held_out_scores")


@pytest.mark.parametrize("kind", HEADS)
def test_a_kind_is_known_by_its_tensors(kind):
    assert heads_among([*REST, *reversed(HEADS[kind])]) == (kind,)


def test_several_heads_are_distinguished():
    kinds = [*HEADS, *HEADS, "gaussian"]
    names = [of_head(name, k) for k, kind in enumerate(kinds) for name in HEADS[kind]]
    assert heads_among(sorted(names)) == tuple(kinds)


@pytest.mark.parametrize(
    "names",
    [
        [],
        REST,
        ["mean"],
        ["mean", "whitening", "gamma"],
        ["mean", "references", "offset"],
        ["mean.1", "whitening.1"],
        ["mean", "whitening", "mean.2", "whitening.2"],
        ["mean", "whitening", "mean.1"],
        ["mean", "whitening.x"],
    ],
)
def test_what_is_no_head_is_refused(names):
    with pytest.raises(ValueError, match="no known head"):
        heads_among(names)


def test_features_are_in_the_order_of_the_branches():
    names = ["features.10", "map", "features", "score", *(f"features.{k}" for k in range(9, 0, -1))]
    assert feature_outputs(names) == ["features", *(f"features.{k}" for k in range(1, 11))]
    assert feature_outputs(["score", "map"]) == []


MEAN = {"mean": np.zeros((1, 1, 3), np.float32)}


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ({"mean": np.zeros((1, 1, 4), np.float32)}, r"a head of mean \(1, 1, 4\)"),
        ({"mean": np.zeros((1, 1, 3))}, "a head of mean float64"),
        ({**MEAN, "gamma": np.zeros(1)}, r"a head of gamma float64, mean \(1, 1, 3\)"),
        ({}, "a head of no tensors"),
    ],
)
def test_a_head_of_other_names_shapes_or_types_is_refused(head, found):
    with pytest.raises(GraphRefused, match=found) as caught:
        require_head(head, {"mean": (1, 1, 3)})
    assert caught.value.expected == "a head of float32 mean (1, 1, 3)"
    assert caught.value.exit_code == 3


def test_the_cache_is_where_the_desktop_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "edge-occ" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_cache() == Path.home() / ".cache" / "edge-occ" / "engines"
