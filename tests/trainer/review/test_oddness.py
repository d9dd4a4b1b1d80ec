"""Ranks, p-values and the rule of oddness, against loops."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.review.oddness import MAX_DEVIATIONS, by_oddness

SCORES = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=40)


@given(SCORES)
def test_every_image_has_the_place_that_counting_gives(scores):
    found = by_oddness(np.array(scores))
    assert sorted(of.image for of in found) == list(range(len(scores)))
    assert [of.rank for of in found] == list(range(1, len(scores) + 1))
    logs = [math.log(score) for score in scores]
    middle = statistics.median(logs)
    mad = 1.4826 * statistics.median(abs(log - middle) for log in logs)
    for of in found:
        score = scores[of.image]
        assert of.score == score
        assert of.p_value == sum(other >= score for other in scores) / len(scores)
        expected = (math.log(score) - middle) / mad if mad else 0
        assert of.deviations == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert of.odd == (of.deviations > MAX_DEVIATIONS)
    assert [of.score for of in found] == sorted(scores, reverse=True)


def test_the_rule_finds_what_stands_out_and_nothing_in_scores_of_one_kind():
    alike = np.exp(np.random.default_rng(0).normal(5, 0.25, 250))
    assert sum(of.odd for of in by_oddness(alike)) <= 1
    with_two = np.concatenate((alike, [np.exp(6.5), np.exp(7)]))
    assert [of.image for of in by_oddness(with_two) if of.odd][:2] == [251, 250]


def test_the_rule_does_not_depend_on_the_unit_of_scores():
    scores = np.exp(np.random.default_rng(1).normal(0, 1, 60))
    first, second = by_oddness(scores), by_oddness(1e4 * scores)
    assert [of.odd for of in first] == [of.odd for of in second]


def test_equal_scores_stay_in_order_and_none_is_odd():
    found = by_oddness(np.array([0.0, 0.0, 0.0, 0.0, 3.0]))
    assert [of.image for of in found] == [4, 0, 1, 2, 3]
    assert not any(of.odd for of in found)
