"""Contrastive learning against sums written out."""

import math

import pytest
import torch
from torch import nn

from edge_occ.common.errors import InputError
from trainer.augment.views import strong_view
from trainer.config import PretextConfig, ViewsConfig
from trainer.pretext.contrastive import ContrastiveTask

VIEWS = ViewsConfig(enabled=True)


def task(name="contrastive", views=VIEWS, **pretext):
    settings = {"name": name, "mode": "image", "embedding": 8, "hidden_layers": 1, "hidden_width": 16, **pretext}
    return ContrastiveTask(PretextConfig(**settings), views)


def images(n=6, side=12, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def embeddings(n=5, dim=8, seed=0):
    """Second views near their first ones, not of unit length."""
    first = torch.randn(n, dim, generator=generator(seed))
    return torch.cat([first, 2 * first + torch.randn(n, dim, generator=generator(seed + 1))])[:, :, None, None]


def labels(n=5):
    return torch.arange(n).repeat(2).view(-1, 1, 1)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def naive_one_way(rows, temperature):
    n = len(rows) // 2
    losses = []
    for i in range(n):
        exponents = [math.exp(cosine(rows[i], rows[n + j]) / temperature) for j in range(n)]
        losses.append(-math.log(exponents[i] / sum(exponents)))
    return sum(losses) / n


def naive_symmetric(rows, temperature):
    n = len(rows) // 2
    losses = []
    for i in range(2 * n):
        exponents = {j: math.exp(cosine(rows[i], rows[j]) / temperature) for j in range(2 * n) if j != i}
        losses.append(-math.log(exponents[(i + n) % (2 * n)] / sum(exponents.values())))
    return sum(losses) / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1])
@pytest.mark.parametrize(("symmetric", "naive"), [(False, naive_one_way), (True, naive_symmetric)])
def test_the_loss_is_the_cross_entropy_of_finding_the_own_view(symmetric, naive, temperature):
    settings = task(symmetric=symmetric, temperature=temperature)
    rows = embeddings().flatten(1).tolist()
    expected = naive(rows, temperature)
    assert float(settings.loss(embeddings(), labels())) == pytest.approx(expected, rel=1e-5)


def test_the_released_form_is_of_one_direction():
    """Columns are never normalised over: moving a second view changes the loss otherwise than moving a first one."""
    swapped = embeddings().roll(5, 0)
    assert float(task().loss(embeddings(), labels())) != pytest.approx(float(task().loss(swapped, labels())), rel=1e-3)
    both = task(symmetric=True)
    assert float(both.loss(embeddings(), labels())) == pytest.approx(float(both.loss(swapped, labels())), rel=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_figures_are_accuracy_and_spread(symmetric):
    outputs = embeddings(9, 3)
    rows = outputs.flatten(1).tolist()
    count = 18 if symmetric else 9
    hits = 0
    for i in range(count):
        others = [j for j in range(18) if j != i] if symmetric else range(9, 18)
        hits += max(others, key=lambda j: cosine(rows[i], rows[j])) == (i + 9) % 18
    unit = nn.functional.normalize(outputs.flatten(1))
    variance = float(unit.var(0, correction=0).sum())
    found = task(symmetric=symmetric).count(outputs, labels(9))
    assert found[0].tolist() == [hits, count]
    assert 0 < hits < count
    assert found[1].tolist() == pytest.approx([variance, 1])
    assert len(task().figures.names) == len(found)


def test_a_batch_is_two_views_of_each_image():
    inputs, sources = task().batch(images(), generator(3))
    assert inputs.shape == (12, 3, 12, 12)
    assert sources.flatten().tolist() == [*range(6), *range(6)]
    assert torch.equal(inputs, strong_view(torch.cat([images(), images()]), VIEWS, generator(3)))
    assert torch.pdist(inputs.flatten(1)).min() > 0.1  # the two of an image are two


def test_drawn_images_are_distinct_and_every_image_is_drawn():
    pictures = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 3, 4, 4)
    seen = set()
    for seed in range(20):
        drawn = task().draw(pictures, 4, generator(seed))
        assert drawn.shape == (4, 3, 4, 4)
        values = (drawn[:, 0, 0, 0] * 255).round().int().tolist()
        assert len(set(values)) == 4
        seen |= set(values)
    assert seen == set(range(10))
    assert sorted((task().draw(pictures, 32, generator())[:, 0, 0, 0] * 255).round().int().tolist()) == [*range(10)]


def recent(loss, spread):
    """Five reports whose mean is this."""
    return [[160 + 10 * i, loss + 0.1 * (i - 2), 0.1, spread * (1 + 0.1 * (i - 2))] for i in range(5)]


CHANCE = math.log(32)


@pytest.mark.parametrize(
    ("loss", "spread"),
    [(CHANCE, 0.5), (CHANCE + 1, 0.5), (CHANCE - 0.003, 0.5), (1.0, 1e-4), (math.nan, 0.5), (1.0, math.nan)],
)
def test_a_collapsed_training_is_stopped(loss, spread):
    with pytest.raises(InputError, match=r"collapsed.*--restart --set optimiser\.learning_rate") as caught:
        task().check(recent(loss, spread), 32)
    assert "3.466" in str(caught.value)


def test_the_chance_of_the_symmetric_form_is_among_more():
    task(symmetric=True).check(recent(CHANCE + 0.2, 0.5), 32)
    with pytest.raises(InputError, match=r"4\.143"):
        task(symmetric=True).check(recent(math.log(63), 0.5), 32)


def test_a_training_that_learns_goes_on():
    task().check(recent(3.4, 0.05), 32)
    task().check(recent(0.1, 0.9), 32)


def test_the_task_can_be_learnt():
    """A small network distinguishes smooth pictures of different layouts."""
    torch.manual_seed(0)
    settings = task(views=ViewsConfig(enabled=True, crop=0.8, flip=False, hue=0, grey=0, saturation=0))
    model = nn.Sequential(nn.Conv2d(3, 16, 5, 2), nn.BatchNorm2d(16), nn.ReLU(), settings.classifier((16,)))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    pictures = nn.functional.interpolate(images(16, 3), (24, 24), mode="bilinear")
    losses, found = [], []
    source = generator()
    for _ in range(60):
        inputs, sources = settings.batch(pictures, source)
        outputs = model(inputs)
        loss = settings.loss(outputs, sources)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        found.append(float(settings.count(outputs.detach(), sources)[0, 0]) / 16)
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])
    assert sum(found[-10:]) > sum(found[:10]) + 1
