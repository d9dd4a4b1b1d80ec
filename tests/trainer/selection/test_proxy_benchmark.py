"""The proxy benchmark: held-out scores, and figures against plain loops."""

import math

import numpy as np
import pytest
import torch
from discs import part
from sklearn.metrics import roc_auc_score

from edge_occ.bundle.standardise import log_scale
from trainer.calibration import held_out
from trainer.calibration.held_out import Shots, inside
from trainer.config import HeadConfig, MapConfig
from trainer.graph.score_map import ScoreMapLayer
from trainer.heads.build import fit_head
from trainer.selection.proxy_benchmark import Defects, ProxyBenchmark, make_defects
from trainer.selection.synthetic_defects import GENERATORS, MIN_PIXELS, VISIBLE


@pytest.fixture(scope="module")
def images():
    """RGB discs ``[10, 3, 64, 64]``."""
    pictures = np.stack([part(seed)[24:88, 24:88] for seed in range(10)])
    return torch.from_numpy(pictures).flip(3).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module")
def defects(images):
    return make_defects(images, 6, seed=1)


def test_every_generator_makes_as_many_as_asked_for_less_the_invisible_ones(images, defects):
    counts = np.bincount(defects.kind)
    assert (counts <= 6).all()
    assert counts.sum() >= 6 * len(GENERATORS) - 3
    for kind, count in enumerate(counts):
        assert len(set(defects.source[defects.kind == kind].tolist())) == count
    assert defects.images.shape == (counts.sum(), 3, 64, 64)
    assert (defects.images.dtype, defects.masks.dtype) == (torch.uint8, torch.bool)
    assert (defects.masks.sum((1, 2)) >= MIN_PIXELS).all()
    assert len(make_defects(images, 500, seed=1).images) > 8 * len(GENERATORS)


@pytest.mark.parametrize("size", [(64, 512), (512, 64)])
def test_defects_fit_into_narrow_images(size):
    narrow = (torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0)) * 60 + 90).byte()
    found = make_defects(narrow, 3, seed=0)
    assert found.images.shape == (3 * len(GENERATORS), 3, *size)
    assert (found.masks.sum((1, 2)) >= MIN_PIXELS).all()


def test_masks_are_where_an_image_differs_from_its_source(images, defects):
    change = (defects.images.float() - images[defects.source].float()).abs().mean(1) / 255
    # Rounding to bytes moves a pixel by half a grey level at most.
    assert not (defects.masks & (change < VISIBLE - 1 / 255)).any()
    assert not (~defects.masks & (change > VISIBLE + 1 / 255)).any()


def test_the_seed_decides_everything(images, defects):
    again, other = make_defects(images, 6, seed=1), make_defects(images, 6, seed=2)
    assert torch.equal(again.images, defects.images)
    assert torch.equal(again.source, defects.source)
    assert not torch.equal(other.images, defects.images)


def numbered(n=11, kinds=3, seed=0):
    """Defects that are numbers instead of pictures."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.cat([torch.randperm(n, generator=generator)[: n - 2] for _ in range(kinds)])
    kind = torch.arange(kinds).repeat_interleave(n - 2)
    masks = torch.rand(len(source), 16, 16, generator=generator) < 0.2
    return Defects(torch.zeros(len(source), 3, 16, 16, dtype=torch.uint8), masks, source, kind)


PARTS = torch.tensor([0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 8])
CENTRES = (torch.tensor([4.0, 12.0]).double(),) * 2
MASK = np.zeros((16, 16), bool)
MASK[1:7, 2:15] = True


def benchmark_of(defects, rate=0.1):
    return ProxyBenchmark(defects, Shots.of(PARTS, 4, seed=5), rate)


def test_no_head_scores_an_image_of_a_part_it_was_fitted_on(monkeypatch):
    defects = numbered()
    sizes = []

    class Head:
        def __init__(self, fitted):
            self.fitted = {int(PARTS[int(number)]) for number in fitted}
            sizes.append(len(fitted))

        def score_many(self, features):
            numbers = features[:, 0, 0, 0].tolist()
            assert not self.fitted & {int(PARTS[int(number) % 100]) for number in numbers}
            return features[..., 0]

    def spy(features, settings, region):
        assert (settings.kind, region) == ("knn", None)
        numbers = features[:, 0, 0, 0].tolist()
        assert max(numbers) < 100, "fitted on a defect"
        return Head(numbers)

    monkeypatch.setattr(held_out, "fit_head", spy)
    normal = torch.arange(11.0).view(11, 1, 1, 1).expand(11, 2, 2, 2)
    changed = (100 + defects.source.float()).view(-1, 1, 1, 1).expand(-1, 2, 2, 2)  # a defect has its source's number
    config = HeadConfig(dim=2, kind="knn", scope=("shared",))
    grids = benchmark_of(defects).grids(normal, changed, config, None)
    assert torch.equal(grids, torch.cat((normal, changed))[..., 0])  # each was scored, in the order of the images
    assert len(sizes) == 4
    assert all(size >= 7 for size in sizes)


@pytest.mark.parametrize("region", [None, np.array([[1, 0], [1, 1]], bool)], ids=["whole", "region"])
def test_a_gaussian_scores_a_defect_without_its_part(region):
    """Against refits, with a ridge that does not depend on the images; standardised without the part as well."""
    defects, generator = numbered(), torch.Generator().manual_seed(1)
    normal = torch.randn(11, 2, 2, 3, generator=generator)
    changed = normal[defects.source] + torch.randn(len(defects.source), 2, 2, 3, generator=generator)
    config = HeadConfig(dim=3, regulariser="ridge", ridge=0.2, floor=0, neighbourhood=1)
    benchmark = benchmark_of(defects)
    grids = benchmark.grids(normal, changed, config, region)
    found = benchmark.standardised(grids, region)
    parts = torch.cat((PARTS, PARTS[defects.source]))
    raw = grids[:11].double().numpy()
    for k, (features, own) in enumerate(zip(torch.cat((normal, changed)), parts.tolist(), strict=True)):
        head = fit_head(normal[PARTS != own], config, region)
        torch.testing.assert_close(grids[k], head.score(inside(features[None], region))[0], rtol=1e-4, atol=1e-5)
        expected = log_scale(raw[PARTS != own], region).apply(grids[k : k + 1].double().numpy())[0]
        np.testing.assert_allclose(found[k], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "region"])
def test_image_scores_are_means_of_the_highest_values_of_the_map(mask):
    defects, config = numbered(), MapConfig(sigma=5)
    score_map = ScoreMapLayer(config, (16, 16), CENTRES, mask)
    positions = 4 if mask is None else int(score_map.region.sum())
    grids = torch.rand(11 + len(defects.images), 1, positions, generator=torch.Generator().manual_seed(3))
    grids = grids.view(-1, 2, 2) if mask is None else grids
    found = benchmark_of(defects).image_scores(score_map, grids, (0, 0.03, 0.2))
    assert len(found) == 3
    read = (np.ones((16, 16), bool) if mask is None else mask)[::2, ::2]
    for share, scores in zip((0, 0.03, 0.2), found, strict=True):
        count = max(1, round(share * read.sum()))
        for score, own in zip(scores, score_map.maps(grids).numpy(), strict=True):
            assert score == pytest.approx(np.sort(own[::2, ::2][read])[::-1][:count].mean(), rel=1e-5)


def test_a_region_between_the_rows_that_are_read_scores_nothing():
    mask = np.zeros((16, 16), bool)
    mask[3, 3] = True
    defects, score_map = numbered(), ScoreMapLayer(MapConfig(), (16, 16), CENTRES, mask)
    grids = torch.rand(11 + len(defects.images), 1, 1)
    (scores,) = benchmark_of(defects).image_scores(score_map, grids, (0.03,))
    assert not scores.any()


def some_scores(defects, seed=4):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(11 + len(defects.images), generator=generator).double().numpy()
    scores[11:] += 0.3 * defects.kind.numpy()  # so that the mean over generators is not that over all
    return scores


def test_power_is_the_share_found_above_the_threshold_of_the_parts():
    defects = numbered()
    scores = some_scores(defects)
    benchmark = benchmark_of(defects, rate=0.1)
    of_parts = sorted(max(s for s, p in zip(scores, PARTS.tolist(), strict=False) if p == k) for k in range(9))
    scores[11] = (of_parts[-1] + of_parts[-2]) / 2  # found at the higher rate alone
    shares = []
    for rate in (0.1, 0.2):  # five and ten times the rate are no rates
        threshold = of_parts[math.ceil(10 * (1 - rate)) - 1]
        shares.append([float(score > threshold) for score in scores[11:]])
    np.testing.assert_allclose(benchmark.found(scores), np.mean(shares, 0))
    kinds = [np.flatnonzero(defects.kind.numpy() == kind) for kind in range(3)]
    assert benchmark.power(scores) == pytest.approx(np.mean([np.mean([shares[0][k] for k in of]) for of in kinds]))
    expected = np.mean([np.mean([shares[0][k] / 2 + shares[1][k] / 2 for k in of]) for of in kinds])
    assert benchmark.objective(scores) == pytest.approx(expected)
    assert 0 < benchmark.power(scores) < benchmark.objective(scores) < 1


def test_a_candidate_is_compared_defect_by_defect():
    defects = numbered()
    benchmark, best = benchmark_of(defects), some_scores(defects)
    best[11:] += 2  # every defect is found
    one_missed, all_missed = best.copy(), best.copy()
    one_missed[11], all_missed[11:20] = -1, -1
    assert benchmark.indistinguishable(best, best)
    assert not benchmark.indistinguishable(best, all_missed)
    error = math.sqrt((1 / 9) * (8 / 9) / 9) / 3  # of one in nine, over three kinds
    assert benchmark.indistinguishable(best, one_missed) == (1 / 27 <= error)


def test_figures_are_means_over_the_generators():
    defects = numbered()
    benchmark, scores = benchmark_of(defects), some_scores(defects)
    score_map = ScoreMapLayer(MapConfig(sigma=5), (16, 16), CENTRES)
    grids = torch.rand(len(scores), 2, 2, generator=torch.Generator().manual_seed(6))
    maps = score_map.maps(grids)[:, 2::4, 2::4].numpy()
    image, pixel = [], []
    for kind in range(3):
        of = (defects.kind == kind).numpy()
        labels = np.repeat([0, 1], [11, of.sum()])
        image.append(roc_auc_score(labels, np.append(scores[:11], scores[11:][of])))
        masks = np.concatenate((np.zeros((11, 4, 4), bool), defects.masks[of][:, 2::4, 2::4]))
        pixel.append(roc_auc_score(masks.ravel(), np.concatenate((maps[:11], maps[11:][of])).ravel()))
    assert benchmark.image_auroc(scores) == pytest.approx(np.mean(image))
    assert benchmark.pixel_auroc(score_map, grids) == pytest.approx(np.mean(pixel))
