from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from trainer.report.charts import bin_edges, score_histogram, training_curve


def texts(svg: str) -> list[str]:
    return [
        "".join(element.itertext()).strip() for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_a_histogram_names_its_groups_and_its_threshold():
    svg = score_histogram({"held-out": np.arange(1.0, 9), "<defects>": np.array([7.0, 9.0]), "none": np.array([])}, 7.5)
    assert {"held-out (8)", "<defects> (2)", "threshold 7.5", "score of an image"} <= set(texts(svg))
    assert not any(text.startswith("none") for text in texts(svg))


def test_colours_and_font_are_the_page_s():
    svg = score_histogram({"a": np.arange(5.0), "b": np.arange(3.0)}, 2.0)
    assert "currentColor" in svg
    assert "var(--series-1" in svg
    assert "var(--series-2" in svg
    assert "var(--alarm" in svg
    assert "#0a00" not in svg
    assert "DejaVu" not in svg


def test_a_wide_range_gets_a_logarithmic_axis():
    assert "10k" in texts(score_histogram({"all": np.geomspace(10, 50_000, 30)}, 400.0))
    assert "100" in texts(score_histogram({"all": np.geomspace(20, 400, 30)}, 200.0))


def test_scores_that_are_all_the_same_and_scores_of_zero():
    assert "all (3)" in texts(score_histogram({"all": np.full(3, 4.0)}, 4.0))
    assert "all (2)" in texts(score_histogram({"all": np.array([0.0, 900.0])}, 1.0))


def test_the_same_scores_give_the_same_chart():
    assert score_histogram({"a": np.arange(5.0)}, 2.0) == score_histogram({"a": np.arange(5.0)}, 2.0)


def test_a_training_curve_names_its_classes():
    svg = training_curve([[10, 1.1, 0.5, 0.2, 0.1], [20, 0.6, 0.9, 0.6, 0.5]], ["normal", "patch", "scar"])
    assert {"normal", "patch", "scar", "loss", "accuracy", "training step"} <= set(texts(svg))


def test_a_training_curve_labels_its_figures():
    svg = training_curve([[10, 1.1, 0.5, 0.2], [20, 0.6, 0.9, 0.6]], ["own view found", "spread"], "share")
    assert {"own view found", "spread", "share"} <= set(texts(svg))
    assert "accuracy" not in texts(svg)


def test_a_training_curve_of_one_row_is_visible():
    assert training_curve([[4, 1.1, 0.5, 0.2]], ["normal", "patch"]).count("<use") > training_curve(
        [[k, 1.1, 0.5, 0.2] for k in (1, 2, 3, 4)], ["normal", "patch"]
    ).count("<use")


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=20),
    st.floats(1e-3, 1e6),
    st.integers(8, 40),
)
@example([177.25], 957217.0, 13)  # the lowest score on an edge, but for rounding
def test_no_bar_is_on_both_sides_of_the_threshold(scores, threshold, bins):
    values = np.array([*scores, threshold])
    edges = np.array(bin_edges(values, threshold, bins))
    assert (np.diff(edges) > 0).all()
    assert len(edges) <= bins + 4
    counted = np.histogram(values, edges)[0]
    assert counted.sum() == len(values)
    assert counted[edges[:-1] > threshold].sum() == (values > threshold).sum()
