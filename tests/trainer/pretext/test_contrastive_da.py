"""Distribution augmentation against the union, made and looked through."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from trainer.config import PretextConfig, ViewsConfig
from trainer.pretext.contrastive_da import SYMMETRIES, DistributionAugmentedTask, symmetries, transformed


def turned_and_mirrored(picture, k):
    return np.fliplr(np.rot90(picture, k))


NAIVE: dict[str | int, list[Callable[[np.ndarray], np.ndarray]]] = {
    "rot": [partial(np.rot90, k=k) for k in range(4)],
    "hflip": [lambda x: x, np.fliplr],
    "vflip": [lambda x: x, np.flipud],
    8: [f for k in range(4) for f in (partial(np.rot90, k=k), partial(turned_and_mirrored, k=k))],
}
"""Images ``[h, w, c]``: as the released code makes the copies, one array after another."""


def task(copies):
    settings = PretextConfig(name="contrastive-da", mode="image", embedding=8, copies=copies)
    return DistributionAugmentedTask(settings, ViewsConfig(enabled=True))


def pictures(n=5, side=4, seed=0):
    return torch.randint(0, 256, (n, 3, side, side), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def union(images, copies):
    transforms = NAIVE[8][:copies] if isinstance(copies, int) else NAIVE[copies]
    rows = images.permute(0, 2, 3, 1).numpy()
    return [torch.tensor(f(row).copy()).permute(2, 0, 1) for f in transforms for row in rows]


@pytest.mark.parametrize("copies", ["rot", "hflip", "vflip", *range(1, 9)])
def test_the_copies_are_those_of_the_released_code(copies):
    kinds = symmetries(copies)
    images = pictures()
    found = [one for kind in kinds for one in transformed(images, torch.full((5,), kind))]
    expected = union(images, copies)
    assert len(found) == len(expected) == 5 * len(kinds)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_the_eight_symmetries_differ():
    copies = transformed(pictures(1).expand(SYMMETRIES, -1, -1, -1), torch.arange(SYMMETRIES))
    assert len({tuple(copy.flatten().tolist()) for copy in copies}) == 8


@pytest.mark.parametrize("copies", ["rot", "hflip", "vflip", 1, 3, 8])
def test_a_batch_is_of_different_members_of_the_union(copies):
    images, members = pictures(), Counter()
    everything = union(images, copies)
    rows = {tuple(member.flatten().tolist()): i for i, member in enumerate(everything)}
    assert len(rows) == len(everything)
    for seed in range(60):
        drawn = task(copies).draw(images, 4, torch.Generator().manual_seed(seed))
        assert drawn.dtype == torch.float32
        found = [rows[tuple((one * 255).round().byte().flatten().tolist())] for one in drawn]
        assert len(set(found)) == 4
        members.update(found)
    assert set(members) == set(range(len(everything)))
    expected = 240 / len(everything)
    assert all(abs(count - expected) < 6 * expected**0.5 for count in members.values())


def test_a_batch_larger_than_the_union_is_the_union():
    drawn = task("rot").draw(pictures(), 64, torch.Generator().manual_seed(0))
    assert len(drawn) == 20
    assert len({tuple(one.flatten().tolist()) for one in drawn}) == 20


def test_one_copy_is_plain_contrastive_learning():
    drawn = task(1).draw(pictures(), 5, torch.Generator().manual_seed(0))
    assert {tuple(one.flatten().tolist()) for one in drawn} == {
        tuple(one.flatten().tolist()) for one in pictures().float() / 255
    }
