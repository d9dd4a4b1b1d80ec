"""Regions of a grid against loops over pixels and positions."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.score_map import positions_inside, upsampling_matrix
from trainer.config import MapConfig
from trainer.graph.region import RegionGrid
from trainer.graph.score_map import ScoreMapLayer

CENTRES = (np.arange(4, dtype=np.float64) * 8 + 4, np.arange(6, dtype=np.float64) * 8 + 4)
SIZE = (32, 48)


@given(st.integers(0, 31), st.integers(0, 47), st.integers(1, 20), st.integers(1, 20))
def test_a_position_is_inside_if_its_cell_holds_a_pixel_of_the_region(top, left, height, width):
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    expected = [[mask[8 * r : 8 * r + 8, 8 * c : 8 * c + 8].any() for c in range(6)] for r in range(4)]
    np.testing.assert_array_equal(positions_inside(mask, CENTRES), expected)


def test_positions_that_leave_a_border_reach_to_the_edge():
    mask = np.zeros(SIZE, bool)
    mask[0, 0] = mask[31, 47] = True
    inner = (np.array([12.0, 20.0]), np.array([20.0, 28.0]))
    np.testing.assert_array_equal(positions_inside(mask, inner), [[True, False], [False, True]])


def test_scores_come_back_to_their_places():
    region = np.array([[0, 1, 1], [1, 0, 0]], bool)
    grid = RegionGrid(region)
    features = torch.arange(2 * 2 * 3 * 2.0).reshape(2, 2, 3, 2)
    gathered = grid.gather(features)
    assert torch.equal(gathered, features[:, torch.from_numpy(region)].unsqueeze(1))
    scores = torch.tensor([[[5.0, 6, 7]], [[1, 2, 3]]])
    expected = torch.tensor([[[0.0, 5, 6], [7, 0, 0]], [[0, 1, 2], [3, 0, 0]]])
    assert torch.equal(grid.scatter(scores), expected)


def test_a_map_of_a_region_is_the_mean_of_its_own_positions_near_a_pixel():
    mask = np.zeros(SIZE, bool)
    mask[5:20, 10:30] = True
    config = MapConfig(sigma=6, image_score="top", top_fraction=0.1)
    to_map = ScoreMapLayer(config, SIZE, (torch.from_numpy(CENTRES[0]), torch.from_numpy(CENTRES[1])), mask)
    region = positions_inside(mask, CENTRES)
    scores = torch.rand(2, 1, int(region.sum()), generator=torch.Generator().manual_seed(0))
    image, maps = to_map(scores)
    down, across = (
        upsampling_matrix(n, c, config.sigma).astype(np.float64) for n, c in zip(SIZE, CENTRES, strict=True)
    )
    for k in range(2):
        values = iter(scores[k, 0].tolist())
        at = {(r, c): next(values) for r in range(4) for c in range(6) if region[r, c]}
        expected = np.zeros(SIZE)
        for y, x in np.argwhere(mask):
            weights = {place: down[y, place[0]] * across[x, place[1]] for place in at}
            expected[y, x] = sum(w * at[place] for place, w in weights.items()) / sum(weights.values())
        np.testing.assert_allclose(maps[k], expected, atol=1e-5)
        highest = np.sort(expected[mask])[::-1][: round(0.1 * mask.sum())]
        np.testing.assert_allclose(image[k], highest.mean(), atol=1e-5)


def test_a_region_of_everything_changes_nothing():
    scores = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(1))
    centres = torch.from_numpy(CENTRES[0]), torch.from_numpy(CENTRES[1])
    for config in (MapConfig(), MapConfig(image_score="top", top_fraction=0.02)):
        whole = ScoreMapLayer(config, SIZE, centres)(scores)
        part = ScoreMapLayer(config, SIZE, centres, np.ones(SIZE, bool))(scores.reshape(3, 1, 24))
        for one, other in zip(whole, part, strict=True):
            torch.testing.assert_close(one, other)
