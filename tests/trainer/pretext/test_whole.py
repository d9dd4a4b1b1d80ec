"""Batches of the tasks that classify whole images."""

import itertools

import pytest
import torch
from torch import nn

from trainer.config import PretextConfig
from trainer.pretext.whole import WholeImageTask

CLASSES = {
    "cutpaste": 2,
    "cutpaste-scar": 2,
    "cutpaste-union": 2,
    "cutpaste-3way": 3,
    "cutout": 2,
    "cutout-mean": 2,
    "cutout-colour": 2,
    "colour-scar": 2,
    "confetti": 2,
}
PAPER = {"mode": "image", "area": (0.02, 0.15), "scar_length": (10, 25), "flips": False}
STILL = {**PAPER, "image_jitter": 0, "patch_jitter": 0}


def images(n=4, side=96, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def within(image, box):
    return image[:, box[0], box[1]]


def changed_boxes(task, n=4, seed=0):
    """For each transformed copy: source image, the smallest box that holds every changed pixel, and which changed."""
    before = images(n, seed=seed)
    inputs, _ = task.batch(before, torch.Generator().manual_seed(seed))
    assert torch.equal(inputs[:n], before)
    for copy, source in zip(inputs[n:], itertools.cycle(before)):
        changed = (copy != source).any(0)
        rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
        box = (slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1))
        yield source, copy, box, changed


@pytest.mark.parametrize("name", CLASSES)
def test_each_image_gives_one_input_a_class(name):
    task = WholeImageTask(PretextConfig(name=name, shift=0.125, **PAPER))
    inputs, labels = task.batch(images(5), torch.Generator().manual_seed(0))
    assert task.classes == CLASSES[name]
    assert inputs.shape == (5 * task.classes, 3, 96, 96)
    assert inputs.dtype == torch.float32
    assert 0 <= inputs.min()
    assert inputs.max() <= 1
    assert labels.dtype == torch.int64
    assert labels.shape == (5 * task.classes, 1, 1)
    assert len(task.figures.names) == task.classes
    assert task.figures.names[0] == "normal"
    assert labels.flatten().tolist() == [k for k in range(task.classes) for _ in range(5)]


@pytest.mark.parametrize("name", CLASSES)
def test_the_same_generator_gives_the_same_batch(name):
    task = WholeImageTask(PretextConfig(name=name, shift=0.125, **PAPER))
    first, again, other = (task.batch(images(), torch.Generator().manual_seed(seed))[0] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "colour"),
    [("cutout", lambda source: torch.full((3,), 0.5)), ("cutout-mean", lambda source: source.mean((1, 2)))],
)
def test_cutout_is_a_box_of_the_colour_that_it_names(name, colour):
    copies = list(changed_boxes(WholeImageTask(PretextConfig(name=name, **STILL))))
    assert len(copies) == 4
    for source, copy, box, changed in copies:
        assert changed[box].all()
        assert 0.018 < changed.float().mean() < 0.155
        torch.testing.assert_close(within(copy, box), colour(source).view(3, 1, 1).expand_as(within(copy, box)))


def test_random_colours_differ_from_image_to_image():
    colours = []
    for _, copy, box, changed in changed_boxes(WholeImageTask(PretextConfig(name="cutout-colour", **STILL))):
        assert changed[box].all()
        values = within(copy, box).flatten(1)
        assert (values == values[:, :1]).all()
        colours.append(tuple(values[:, 0].tolist()))
    assert len(set(colours)) == 4


def test_a_colour_scar_is_a_thin_rectangle_of_one_colour():
    copies = list(changed_boxes(WholeImageTask(PretextConfig(name="colour-scar", **STILL)), 8))
    assert len(copies) == 8
    for _, copy, _, changed in copies:
        values = copy[:, changed]
        assert (values == values[:, :1]).all()
        assert 10 < changed.sum() <= 16 * 25 + 41


def test_the_three_classes_are_the_image_a_patch_and_a_scar():
    copies = list(changed_boxes(WholeImageTask(PretextConfig(name="cutpaste-3way", **STILL)), 6))
    assert len(copies) == 12
    for source, copy, box, changed in copies[:6]:
        assert changed[box].all()
        height, width = (side.stop - side.start for side in box)
        windows = source.unfold(1, height, 1).unfold(2, width, 1)
        assert (windows == within(copy, box).view(3, 1, 1, height, width)).all((3, 4)).all(0).sum() == 1
    for source, copy, _, changed in copies[6:]:
        assert changed.sum() <= 16 * 25 + 41
        colours = set(map(tuple, source.flatten(1).T.tolist()))
        assert set(map(tuple, copy.flatten(1).T.tolist())) <= colours  # nothing but pixels of the source


def test_the_union_holds_patches_and_scars():
    task = WholeImageTask(PretextConfig(name="cutpaste-union", **{**STILL, "area": (0.1, 0.15)}))
    areas = [int(changed.sum()) for *_, changed in changed_boxes(task, 32)]
    patches = sum(area > 0.09 * 96 * 96 for area in areas)
    assert patches + sum(area <= 16 * 25 + 41 for area in areas) == 32
    assert 6 < patches < 26


@pytest.mark.parametrize("augmentation", [{"shift": 0.125}, {"image_jitter": 0.2}, {"flips": True}])
def test_the_copies_share_the_augmentation_of_their_source(augmentation):
    task = WholeImageTask(PretextConfig(name="cutout", **{**STILL, "area": (0.02, 0.03), **augmentation}))
    before = images()
    inputs, _ = task.batch(before, torch.Generator().manual_seed(0))
    assert not torch.equal(inputs[:4], before)
    assert ((inputs[:4] != inputs[4:]).any(1).float().mean((1, 2)) < 0.04).all()


def test_the_loss_is_the_mean_over_all_images():
    task = WholeImageTask(PretextConfig(**PAPER))
    logits = torch.randn(6, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 1, 1, 2, 2]).view(6, 1, 1)
    logs = logits.log_softmax(1)
    expected = -sum(logs[i, label, 0, 0] for i, label in enumerate([0, 0, 1, 1, 2, 2])) / 6
    torch.testing.assert_close(task.loss(logits, labels), expected)


def test_the_task_can_be_learnt():
    """A small network distinguishes cutouts of a distinct colour from smooth images within a few steps."""
    torch.manual_seed(0)
    task = WholeImageTask(PretextConfig(name="cutout", hidden_layers=1, hidden_width=16, **STILL))
    model = nn.Sequential(nn.Conv2d(3, 16, 5, 2), nn.ReLU(), task.classifier((16,)))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(8, 3, 1, 1, generator=generator).mul(0.2).expand(8, 3, 32, 32)
    losses = []
    for _ in range(30):
        inputs, labels = task.batch(smooth, generator)
        loss = task.loss(model(inputs), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] > 0.5
    assert losses[-1] < 0.3
