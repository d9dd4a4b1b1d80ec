"""The share of the features' variance that the position explains."""

import pytest
import torch

from trainer.graph.alignment import alignment


def test_alignment_is_the_share_that_the_position_explains():
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(1, 6, 7, 4, generator=generator)
    assert alignment(one.expand(20, -1, -1, -1)) == pytest.approx(1, abs=1e-5)
    shuffled = torch.stack([one[0].flatten(0, 1)[torch.randperm(42, generator=generator)] for _ in range(300)])
    assert alignment(shuffled.view(300, 6, 7, 4)) < 0.02
    noisy = one + torch.randn(2000, 6, 7, 4, generator=generator)
    of_positions, noise = one.numpy().var((0, 1, 2)), 1.0
    assert alignment(noisy) == pytest.approx(float((of_positions / (of_positions + noise)).mean()), abs=0.02)
    assert alignment(torch.ones(5, 2, 2, 3)) == 0
