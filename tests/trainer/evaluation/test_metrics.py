from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage
from scipy.integrate import quad
from sklearn.metrics import precision_recall_curve, roc_auc_score

from trainer.evaluation.metrics import aupimo, aupro, f1_max, image_auroc, pixel_auroc

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


@st.composite
def good_and_defective(draw: st.DrawFn) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.float32]]]:
    """As above, but with images that are sure to be normal, of several sizes, between the others."""
    masks, maps = draw(segmentations())
    for shape in draw(st.lists(st.tuples(st.integers(3, 9), st.integers(3, 9)), min_size=1, max_size=3)):
        place = draw(st.integers(0, len(masks)))
        masks.insert(place, np.zeros(shape, np.bool_))
        maps.insert(place, draw(arrays(np.float32, shape, elements=_levels)))
    return masks, maps


def aupimo_by_thresholds(masks, maps, low, high):
    """The definition, word by word: a loop over all distinct thresholds, a numerical integral between any two."""
    normal = [m for mask, m in zip(masks, maps, strict=True) if not mask.any()]
    if sum(m.size for m in normal) < 1 / low:
        return []
    thresholds = sorted({float(v) for m in maps for v in m.ravel()}, reverse=True)
    rates = [0.0] + [float(np.mean([(m >= t).mean() for m in normal])) for t in thresholds]
    areas = []
    for mask, m in zip(masks, maps, strict=True):
        if not mask.any():
            continue
        overlaps, area = [0.0] + [float((m[mask] >= t).mean()) for t in thresholds], 0.0
        for (x0, y0), (x1, y1) in pairwise(zip(rates, overlaps, strict=True)):
            start, end = max(x0, low), min(x1, high)
            if start < end:
                area += quad(
                    lambda x, x0, y0, slope: (y0 + slope * (x - x0)) / x, start, end, (x0, y0, (y1 - y0) / (x1 - x0))
                )[0]
        areas.append(area / math.log(high / low))
    return areas


@given(good_and_defective(), st.sampled_from([(0.02, 0.2), (0.05, 0.5), (0.1, 1.0), (0.125, 0.25)]))
def test_aupimo_is_the_one_of_a_loop_over_all_thresholds(case, bounds):
    masks, maps = case
    found = aupimo(masks, maps, bounds)
    assert found.tolist() == pytest.approx(aupimo_by_thresholds(masks, maps, *bounds), abs=1e-9)


def aupimo_by_trapezoids(masks, maps, thresholds=300_000):
    """As the reference approximates it: evenly spaced thresholds, the nearest ones to the bounds, logarithmic axis.

    But divided by the range that these thresholds span, so that a perfect image has 1.
    """
    normal = np.sort(np.concatenate([m.ravel() for mask, m in zip(masks, maps, strict=True) if not mask.any()]))
    levels = np.linspace(normal[0], normal[-1], thresholds)
    rates = 1 - np.searchsorted(normal, levels) / len(normal)
    first, last = (int(np.abs(rates - bound).argmin()) for bound in (1e-4, 1e-5))
    rates, levels = rates[first : last + 1], levels[first : last + 1]
    overlaps = [
        1 - np.searchsorted(np.sort(m[mask]), levels) / mask.sum()
        for mask, m in zip(masks, maps, strict=True)
        if mask.any()
    ]
    return np.trapezoid(overlaps, np.log(rates), axis=1) / math.log(rates[-1] / rates[0])


def test_aupimo_at_a_real_size_is_near_the_reference_s_approximation():
    generator = np.random.default_rng(5)
    maps = [ndimage.gaussian_filter(generator.standard_normal((256, 256)), 2).astype(np.float32) for _ in range(12)]
    masks = [np.zeros((256, 256), dtype=bool) for _ in range(12)]
    for k, (mask, scores) in enumerate(zip(masks[8:], maps[8:], strict=True)):
        mask[40:70, 100:140] = True
        scores[mask] += 0.2 * (k + 1)
    found = aupimo(masks, maps)
    assert found.tolist() == sorted(found)
    assert 0 < found[0] < 0.5 < found[-1] < 1
    assert found == pytest.approx(aupimo_by_trapezoids(masks, maps), abs=5e-3)


def test_a_defect_that_ties_with_half_of_the_normal_pixels_rises_from_rate_zero():
    mask, defect = np.array([[True]]), np.array([[1.0]], np.float32)
    normal = np.repeat(np.array([[0.0, 1.0]], np.float32), 50, axis=1)
    overlap_by_rate = 1 / 0.5  # so the integral of overlap over the logarithm of the rate is that of a constant
    expected = overlap_by_rate * (0.1 - 0.01) / math.log(10)
    assert aupimo([~np.ones((1, 100), bool), mask], [normal, defect], (0.01, 0.1)) == pytest.approx([expected])


def test_aupimo_takes_false_positives_from_normal_images_only():
    normal, mask = np.zeros((400, 400), bool), np.eye(5, dtype=bool)
    background = np.zeros((400, 400), np.float32)
    above_all, below_the_highest = np.where(mask, 1, 9).astype(np.float32), np.where(mask, -1, 9).astype(np.float32)
    assert aupimo([normal, mask, mask], [background, above_all, below_the_highest]) == pytest.approx([1, 0])


def test_aupimo_is_undefined_without_defects_and_with_too_few_normal_pixels_for_the_lowest_rate():
    mask, defect = np.ones((1, 1), bool), np.ones((1, 1), np.float32)
    for pixels, n in ((99_999, 0), (100_000, 1)):
        normal, background = np.zeros((1, pixels), bool), np.zeros((1, pixels), np.float32)
        assert len(aupimo([normal, mask], [background, defect])) == n
    assert len(aupimo([normal], [background])) == 0
    assert len(aupimo([mask], [defect])) == 0
    assert len(aupimo([], [])) == 0


def test_undefined_metrics_are_none():
    scores = np.array([0.1, 0.2])
    good, defective = np.array([False, False]), np.array([True, True])
    assert image_auroc(good, scores) is None
    assert image_auroc(defective, scores) is None
    assert f1_max(good, scores) is None
    assert f1_max(~good, scores) is None
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
