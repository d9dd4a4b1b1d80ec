from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import precision_recall_curve, roc_auc_score

from trainer.metrics import aupro, f1_max, image_auroc, pixel_auroc

# Few distinct values, so that ties within and across the classes abound; all exact in float32.
_levels = st.integers(0, 12).map(lambda k: k / 4)


@st.composite
def labelled_scores(draw: st.DrawFn) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    n = draw(st.integers(2, 30))
    labels = draw(arrays(np.bool_, n))
    labels[0], labels[1] = True, False
    return labels, draw(arrays(np.float64, n, elements=_levels))


@st.composite
def segmentations(draw: st.DrawFn) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.float32]]]:
    shapes = draw(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=4))
    masks = [draw(arrays(np.bool_, shape)) for shape in shapes]
    maps = [draw(arrays(np.float32, shape, elements=_levels)) for shape in shapes]
    return masks, maps


@given(labelled_scores())
def test_image_auroc_is_the_one_of_scikit_learn(case):
    labels, scores = case
    assert image_auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@given(labelled_scores())
def test_f1_max_is_the_highest_of_the_precision_recall_curve(case):
    labels, scores = case
    precision, recall, _ = precision_recall_curve(labels, scores)
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max()
    assert f1_max(labels, scores) == pytest.approx(best, abs=1e-12)


@given(segmentations())
def test_pixel_auroc_is_the_one_of_all_pixels_in_a_row(case):
    masks, maps = case
    labels, scores = np.concatenate([m.ravel() for m in masks]), np.concatenate([m.ravel() for m in maps])
    if labels.all() or not labels.any():
        assert pixel_auroc(masks, maps) is None
    else:
        assert pixel_auroc(masks, maps) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def aupro_by_thresholds(masks, maps, limit):
    """The definition, word by word: a loop over all distinct thresholds, components by scipy, trapezoids by numpy."""
    regions = []
    for index, mask in enumerate(masks):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [(index, labels == k) for k in range(1, count + 1)]
    normal = sum(int((~mask).sum()) for mask in masks)
    if not regions or not normal:
        return None
    rates, overlaps = [0.0], [0.0]
    for threshold in sorted({float(v) for m in maps for v in m.ravel()}, reverse=True):
        above = [m >= threshold for m in maps]
        rates.append(sum(int((a & ~mask).sum()) for a, mask in zip(above, masks, strict=True)) / normal)
        overlaps.append(float(np.mean([above[i][region].mean() for i, region in regions])))
    last = next(i for i, rate in enumerate(rates) if rate >= limit)
    if rates[last] > limit:
        share = (limit - rates[last - 1]) / (rates[last] - rates[last - 1])
        overlaps[last] = overlaps[last - 1] + share * (overlaps[last] - overlaps[last - 1])
        rates[last] = limit
    return float(np.trapezoid(overlaps[: last + 1], rates[: last + 1])) / limit


@given(segmentations(), st.sampled_from([0.05, 0.3, 0.5, 1.0]))
def test_aupro_is_the_one_of_a_loop_over_all_thresholds(case, limit):
    masks, maps = case
    expected = aupro_by_thresholds(masks, maps, limit)
    if expected is None:
        assert aupro(masks, maps, limit) is None
    else:
        assert aupro(masks, maps, limit) == pytest.approx(expected, abs=1e-9)


def test_regions_that_touch_at_a_corner_are_one():
    mask = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)
    scores = np.where(mask, 0.0, 1.0).astype(np.float32)
    scores[0, 0] = 2.0  # a third of the one region found; with 4-connectivity it would be half of two regions
    assert aupro([mask], [scores]) == pytest.approx(1 / 3)


def test_a_large_region_weighs_no_more_than_a_small_one():
    mask = np.zeros((20, 20), dtype=bool)
    mask[1:11, 1:11] = mask[15, 15] = True
    scores = np.zeros((20, 20), dtype=np.float32)
    scores[1:11, 1:11] = 2.0
    scores[~mask] = 1.0
    assert aupro([mask], [scores]) == pytest.approx(0.5)


def test_continuous_scores_at_a_real_size():
    generator = np.random.default_rng(3)
    maps = [generator.random((96, 96), dtype=np.float32) for _ in range(6)]
    masks = [np.zeros((96, 96), dtype=bool) for _ in range(6)]
    for k, (mask, scores) in enumerate(zip(masks[:4], maps[:4], strict=True)):
        mask[10 : 20 + k, 30:50] = mask[60:63, 5:9] = True
        scores[mask] += 0.2
    labels, scores = np.concatenate([m.ravel() for m in masks]), np.concatenate([m.ravel() for m in maps])
    assert pixel_auroc(masks, maps) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    # By the definition with 2,000 of the 55,000 thresholds, so a little short of exact.
    coarse = [np.floor(m * 2000).astype(np.float32) for m in maps]
    assert aupro(masks, maps) == pytest.approx(aupro_by_thresholds(masks, coarse, 0.3), abs=1e-3)


def test_undefined_metrics_are_none():
    scores = np.array([0.1, 0.2])
    good, defective = np.array([False, False]), np.array([True, True])
    assert image_auroc(good, scores) is None
    assert image_auroc(defective, scores) is None
    assert f1_max(good, scores) is None
    empty, maps = [np.zeros((3, 3), dtype=bool)], [np.zeros((3, 3), dtype=np.float32)]
    full = [np.ones((3, 3), dtype=bool)]
    for masks in (empty, full):
        assert pixel_auroc(masks, maps) is None
        assert aupro(masks, maps) is None
    assert pixel_auroc([], []) is None
    assert aupro([], []) is None


def test_masks_and_maps_must_be_of_the_same_images():
    with pytest.raises(ValueError, match="zip"):
        pixel_auroc([np.zeros((3, 3), dtype=bool)], [])
