"""Maps and image scores in numpy, against sums that are written out."""

import numpy as np
import pytest

from edge_occ.bundle.score_map import MapSettings, ScoreMap

SIZE = (32, 48)
CENTRES = np.array([4.0, 12, 20, 28]), np.array([4.0, 12, 20, 28, 36, 44])


def written_out(grid, at, sigma):
    """The value of one pixel: the mean of all positions, weighted by their distance."""
    y, x = at
    rows = np.exp(-np.square(CENTRES[0] - y - 0.5) / (2 * sigma**2))
    columns = np.exp(-np.square(CENTRES[1] - x - 0.5) / (2 * sigma**2))
    weights = np.outer(rows, columns) * np.isfinite(grid)
    return (weights * np.nan_to_num(grid)).sum() / weights.sum()


@pytest.mark.parametrize("settings", [MapSettings(5), MapSettings(6, image_score="top", top_fraction=0.1)])
def test_a_map_is_a_weighted_mean(settings):
    grids = np.random.default_rng(0).random((40, 4, 6))
    of = ScoreMap(settings, SIZE, CENTRES)
    maps = of.maps(grids)
    for at in ((0, 0), (17, 30), (31, 47)):
        assert maps[3][at] == pytest.approx(written_out(grids[3], at, settings.sigma), rel=1e-5)
    count = 1 if settings.image_score == "max" else round(0.1 * 32 * 48)
    expected = [np.sort(one.reshape(-1))[::-1][:count].mean() for one in maps]
    np.testing.assert_allclose(of.scores(grids), expected, rtol=1e-5)


def test_positions_outside_a_region_take_no_part():
    mask = np.zeros(SIZE, bool)
    mask[5:20, 10:30] = True
    settings = MapSettings(6, image_score="top", top_fraction=0.2)
    of = ScoreMap(settings, SIZE, CENTRES, mask)
    assert of.region is not None
    grids = np.random.default_rng(1).random((2, 1, int(of.region.sum())))
    maps = of.maps(grids)
    assert not maps[:, ~mask].any()
    whole = np.full((4, 6), np.nan)
    whole[of.region] = grids[1, 0]
    for at in ((5, 10), (12, 20), (19, 29)):
        assert maps[1][at] == pytest.approx(written_out(whole, at, 6), rel=1e-4)
    highest = np.sort(maps[1][mask])[::-1][: round(0.2 * mask.sum())]
    assert of.scores(grids)[1] == pytest.approx(highest.mean(), rel=1e-5)


def test_one_value_stays_itself_but_for_the_papers_border():
    ones = np.full((1, 4, 6), 7.0)
    np.testing.assert_allclose(ScoreMap(MapSettings(3), SIZE, CENTRES).maps(ones), np.full((1, *SIZE), 7.0), rtol=1e-5)
    paper = ScoreMap(MapSettings(10, "paper"), SIZE, CENTRES).maps(ones)[0]
    assert paper[0, 0] < 6 < paper.max() < 7.01
