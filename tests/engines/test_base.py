"""Names of the heads' tensors, by which everything that reads a bundle tells their kinds."""

import pytest

from engines.base import HEADS, heads_among, of_head

REST = ("frame", "score_weights", "map_weights", "held_out_scores")


@pytest.mark.parametrize("kind", HEADS)
def test_a_kind_is_known_by_its_tensors(kind):
    assert heads_among([*REST, *reversed(HEADS[kind])]) == (kind,)


def test_several_heads_are_told_apart():
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
    with pytest.raises(ValueError, match="no head that is known"):
        heads_among(names)
