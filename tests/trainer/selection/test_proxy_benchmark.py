"""The proxy benchmark: held-out scores, and figures against plain loops."""

import numpy as np
import pytest
import torch
from discs import part
from sklearn.metrics import roc_auc_score

from trainer.calibration.held_out import folds_of
from trainer.config import HeadConfig, MapConfig
from trainer.graph.score_map import ScoreMap
from trainer.selection import proxy_benchmark
from trainer.selection.proxy_benchmark import BenchmarkScores, Defects, ProxyBenchmark, make_defects
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


def test_no_head_scores_an_image_it_was_fitted_on(monkeypatch):
    defects, fold_of = numbered(), folds_of(11, 4, seed=5)
    sizes = []

    class Head:
        def __init__(self, fitted):
            self.fitted = set(fitted)
            sizes.append(len(fitted))

        def score_many(self, features):
            numbers = features[:, 0, 0, 0].tolist()
            assert not self.fitted & {number % 100 for number in numbers}
            return features[..., 0]

    def spy(features, settings, scope):
        assert (settings.dim, scope) == (2, "shared")
        numbers = features[:, 0, 0, 0].tolist()
        assert max(numbers) < 100, "fitted on a defect"
        return Head(numbers)

    monkeypatch.setattr(proxy_benchmark, "fit_head", spy)
    normal = torch.arange(11.0).view(11, 1, 1, 1).expand(11, 2, 2, 2)
    changed = (100 + defects.source.float()).view(-1, 1, 1, 1).expand(-1, 2, 2, 2)  # a defect has its source's number
    grids = ProxyBenchmark(defects, fold_of).grids(normal, changed, HeadConfig(dim=2), "shared")
    assert torch.equal(grids, torch.cat((normal, changed))[..., 0])  # each was scored, in the order of the images
    assert len(sizes) == 4
    assert all(size >= 8 for size in sizes)


def test_scores_are_in_units_of_their_spread_on_normal_images():
    defects = numbered()
    benchmark = ProxyBenchmark(defects, folds_of(11, 4, seed=5))
    grids = torch.rand(11 + len(defects.images), 2, 2, generator=torch.Generator().manual_seed(3))
    centres = torch.tensor([4.0, 12.0]).double()
    score_map = ScoreMap(MapConfig(image_score="top", top_fraction=0.05), (16, 16), (centres, centres))
    found, scaled = benchmark.scores(score_map, grids), benchmark.scores(score_map, 1000 * grids)
    scores, maps = score_map(grids)
    spread = float(np.std(scores[:11].numpy(), ddof=1))
    torch.testing.assert_close(found.scores, scores / spread)
    torch.testing.assert_close(found.maps, maps[:, 2::4, 2::4] / spread)
    torch.testing.assert_close(scaled.scores, found.scores)
    torch.testing.assert_close(scaled.maps, found.maps)


def test_figures_are_means_over_the_generators():
    defects = numbered()
    benchmark = ProxyBenchmark(defects, folds_of(11, 4, seed=5))
    generator = torch.Generator().manual_seed(4)
    count = 11 + len(defects.images)
    scores, maps = torch.rand(count, generator=generator), torch.rand(count, 4, 4, generator=generator)
    scores[11:] += 0.2 * defects.kind  # so that the mean over generators is not that over all
    image, pixel = [], []
    for kind in range(3):
        of = (defects.kind == kind).numpy()
        labels = np.repeat([0, 1], [11, of.sum()])
        image.append(roc_auc_score(labels, np.append(scores[:11], scores[11:][of])))
        masks = np.concatenate((np.zeros((11, 4, 4), bool), defects.masks[of][:, 2::4, 2::4]))
        pixel.append(roc_auc_score(masks.ravel(), np.concatenate((maps[:11], maps[11:][of])).ravel()))
    assert benchmark.image_auroc(scores) == pytest.approx(np.mean(image))
    assert benchmark.pixel_auroc(maps) == pytest.approx(np.mean(pixel))


def test_the_objective_of_a_branch_is_that_of_its_best_heads():
    defects = numbered()
    benchmark = ProxyBenchmark(defects, folds_of(11, 4, seed=5))
    generator = torch.Generator().manual_seed(6)
    count = 11 + len(defects.images)
    heads = [
        BenchmarkScores(torch.rand(count, generator=generator), torch.rand(count, 4, 4, generator=generator))
        for _ in "ab"
    ]
    best_image = max(benchmark.image_auroc(e.scores) for e in heads)
    best_pixel = max(benchmark.pixel_auroc(e.maps) for e in heads)
    assert benchmark.objective(heads) == pytest.approx(best_image + best_pixel)
    assert benchmark.objective(heads) >= max(benchmark.objective([e]) for e in heads)
