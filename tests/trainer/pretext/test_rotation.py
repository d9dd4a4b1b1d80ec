"""Rotation prediction: its batches, and the scores of its own classifier."""

import math

import pytest
import torch
from torch import nn

from trainer.augment.views import strong_view
from trainer.config import PretextConfig, ViewsConfig
from trainer.encoders.resnet import ResNet18Encoder
from trainer.pretext.rotation import RotationTask, rotation_scores

STILL = {"name": "rotation", "mode": "image", "image_jitter": 0, "flips": False}
MILD, STRONG = ViewsConfig(), ViewsConfig(enabled=True)


def task(views=MILD, **pretext):
    return RotationTask(PretextConfig(**{**STILL, **pretext}), views)


def images(n=4, side=12, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def quarter(image):
    """A quarter turn counter-clockwise, pixel by pixel: what was at the right end of a row is at its top."""
    turned = torch.empty_like(image)
    side = image.shape[1]
    for row in range(side):
        for column in range(side):
            turned[:, side - 1 - column, row] = image[:, row, column]
    return turned


def upright(inputs):
    """The copies with their turns undone."""
    undone = []
    for turns, copies in enumerate(inputs.chunk(4)):
        for copy in copies:
            for _ in range((4 - turns) % 4):
                copy = quarter(copy)  # noqa: PLW2901 - turned further
            undone.append(copy)
    return torch.stack(undone)


@pytest.mark.parametrize("views", [MILD, STRONG])
def test_each_image_gives_one_input_a_turn(views):
    inputs, labels = task(views, image_jitter=0.1).batch(images(5), generator())
    assert inputs.shape == (20, 3, 12, 12)
    assert inputs.dtype == torch.float32
    assert labels.shape == (20, 1, 1)
    assert labels.dtype == torch.int64
    assert labels.flatten().tolist() == [turns for turns in range(4) for _ in range(5)]


def test_without_augmentation_they_are_the_image_in_four_directions():
    inputs, _ = task().batch(images(), generator())
    assert torch.equal(inputs[:4], images())
    assert torch.equal(inputs[4:8], torch.stack([quarter(image) for image in images()]))
    assert torch.equal(upright(inputs), images().repeat(4, 1, 1, 1))


def test_copies_are_augmented_each_by_itself_and_turned_afterwards():
    inputs, _ = task(STRONG).batch(images(2), generator(3))
    expected = strong_view(images(2).repeat(4, 1, 1, 1), STRONG, generator(3))
    assert torch.equal(upright(inputs), expected)
    assert torch.pdist(expected.flatten(1)).min() > 0.1


def test_the_mild_set_only_mirrors_left_to_right():
    """Mirrored top-bottom as well, an upright image would be one turned by 180 degrees."""
    inputs, _ = task(flips=True).batch(images(16), generator())
    mirrored = 0
    for copy, source in zip(upright(inputs), images(16).repeat(4, 1, 1, 1), strict=True):
        assert torch.equal(copy, source) or torch.equal(copy, source.flip(2))
        mirrored += int(torch.equal(copy, source.flip(2)))
    assert 16 < mirrored < 48


@pytest.mark.parametrize("views", [MILD, STRONG])
def test_the_same_generator_gives_the_same_batch(views):
    settings = task(views, image_jitter=0.1)
    first, again, other = (settings.batch(images(), generator(seed))[0] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_loss_is_the_mean_over_all_turns():
    logits = torch.randn(8, 4, 1, 1, generator=generator())
    labels = torch.arange(4).repeat_interleave(2).view(8, 1, 1)
    probabilities = logits.flatten(1).softmax(1)
    expected = -sum(math.log(probabilities[i, i // 2]) for i in range(8)) / 8
    assert float(task().loss(logits, labels)) == pytest.approx(expected, rel=1e-5)


def test_the_figures_are_the_accuracies_of_the_turns():
    logits = torch.zeros(8, 4, 1, 1)
    for i, predicted in enumerate((0, 0, 1, 2, 3, 2, 0, 1)):
        logits[i, predicted] = 1
    labels = torch.arange(4).repeat_interleave(2).view(8, 1, 1)
    settings = task()
    assert settings.count(logits, labels).tolist() == [[2, 2], [1, 2], [1, 2], [0, 2]]
    assert len(settings.figures.names) == 4


def test_the_classifiers_own_scores_are_those_of_the_probabilities():
    torch.manual_seed(0)
    encoder = ResNet18Encoder(small=True, base_width=8)
    head = task(hidden_layers=2, hidden_width=16, embedding=8).classifier(encoder.scales)
    pictures = (images(7, 32) * 255).byte()
    for _ in range(3):  # statistics of batch normalisation that are not the identity
        head(encoder(encoder.normalise(pictures.float())))
    encoder.eval()
    head.eval()
    found = rotation_scores(encoder, head, pictures, batch=3)
    assert found.product.shape == found.upright.shape == (7,)
    assert found.product.dtype == torch.float64
    for i, picture in enumerate(pictures):
        right, turned = 1.0, picture.float()
        for turns in range(4):
            with torch.inference_mode():
                logits = head(encoder(encoder.normalise(turned.unsqueeze(0)))).flatten()
            probability = float(logits.double().softmax(0)[turns])
            if turns == 0:
                assert float(found.upright[i]) == pytest.approx(1 - probability, rel=1e-4)
            right *= probability
            turned = quarter(turned)
        assert float(found.product[i]) == pytest.approx(1 - right, rel=1e-4)


class _Corner(nn.Module):
    """Features that say in which quarter of the image it is bright."""

    def forward(self, pixels):
        return nn.functional.adaptive_avg_pool2d(pixels.mean(1, keepdim=True), 2).flatten(1)[:, :, None, None]


def test_the_task_can_be_learnt_and_its_classifier_scores_rotated_images_higher():
    torch.manual_seed(0)
    encoder = ResNet18Encoder(small=True, base_width=8)
    setattr(encoder, "forward", _Corner().forward)  # noqa: B010 - a method may not be assigned to
    settings = task(hidden_layers=1, hidden_width=16, image_jitter=0.1)
    head = settings.classifier((4,))
    optimiser = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
    bright = images(8, 16) * 0.5
    bright[:, :, :8, :8] += 0.5
    source = generator()
    for _ in range(60):
        inputs, labels = settings.batch(bright, source)
        loss = settings.loss(head(encoder(inputs)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    head.eval()
    encoder.deviation = 255.0
    normal, turned = (rotation_scores(encoder.eval(), head, x * 255) for x in (bright, bright.rot90(1, (2, 3))))
    assert normal.product.max() < turned.product.min()
    assert normal.upright.max() < 0.5 < turned.upright.min()
