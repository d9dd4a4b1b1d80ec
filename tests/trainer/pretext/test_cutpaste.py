"""Window labels and batches of the CutPaste task."""

import pytest
import torch

from trainer.config import PretextConfig
from trainer.pretext.cutpaste import IGNORE, CutPasteTask, random_crops

NAMES = ["cutpaste", "cutpaste-scar", "cutpaste-union", "cutpaste-3way"]


def images(n=4, side=96, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def naive_labels(task, before, after, covered, classes):
    config, stride = task.config, task.stride
    n, _, height, width = before.shape
    labels = []
    for i in range(n):
        grid = []
        for y in range(0, height - 63, stride):
            line = []
            for x in range(0, width - 63, stride):
                pasted = visible = 0
                for row in range(y, y + 64):
                    for column in range(x, x + 64):
                        if covered[i, 0, row, column]:
                            pasted += 1
                            change = (after[i, :, row, column] - before[i, :, row, column]).abs().mean()
                            visible += bool(change > config.visible)
                if pasted == 0:
                    line.append(0)
                elif visible >= config.least_pixels and pasted <= config.most_covered * 64 * 64:
                    line.append(int(classes[i]))
                else:
                    line.append(IGNORE)
            grid.append(line)
        labels.append(grid)
    return torch.tensor(labels)


def test_labels_equal_counting_pixels():
    task = CutPasteTask(PretextConfig(), 16)
    before = images(3)
    covered = torch.zeros(3, 1, 96, 96, dtype=torch.bool)
    covered[0, :, 10:20, 70:90] = True  # visible
    covered[1, :, 0:70, 0:80] = True  # fills the first window
    covered[2, :, 40:44, 40:44] = True  # too small
    after = torch.where(covered, 1 - before, before)
    after[0, :, 10:15] = before[0, :, 10:15]  # half of the first paste changes nothing
    classes = torch.tensor([1, 2, 1])
    found = task.label_windows(before, after, covered, classes)
    assert torch.equal(found, naive_labels(task, before, after, covered, classes))
    assert {IGNORE, 0, 1, 2} == set(found.unique().tolist())


def test_a_paste_that_changes_nothing_is_no_defect():
    task = CutPasteTask(PretextConfig(), 8)
    white = torch.ones(2, 3, 96, 96)
    covered = torch.zeros(2, 1, 96, 96, dtype=torch.bool)
    covered[:, :, 20:50, 20:50] = True
    labels = task.label_windows(white, white, covered, torch.tensor([1, 2]))
    assert set(labels.unique().tolist()) == {IGNORE}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["dense", "crops"])
def test_batches_have_the_classes_of_the_task(name, mode):
    task = CutPasteTask(PretextConfig(name=name, mode=mode, area=(0.02, 0.15)), 8)
    generator = torch.Generator().manual_seed(0)
    found = set()
    for seed in range(6):
        inputs, labels = task.batch(images(4, seed=seed), generator)
        assert inputs.dtype == torch.float32
        assert len(inputs) == len(labels)
        assert 0 <= inputs.min()
        assert inputs.max() <= 1
        found |= set(labels.unique().tolist())
    assert found - {IGNORE} == set(range(task.classes))
    if mode == "crops":
        assert inputs.shape[2:] == (64, 64)
        assert labels.shape == (4 * (3 if name == "cutpaste-3way" else 2), 1, 1)
        assert (labels == 0).sum() == 4
    else:
        assert inputs.shape == (4, 3, 96, 96)
        assert labels.shape == (4, 5, 5)


def test_the_same_generator_gives_the_same_batch():
    task = CutPasteTask(PretextConfig(shift=0.1), 8)
    first = task.batch(images(), torch.Generator().manual_seed(5))
    second = task.batch(images(), torch.Generator().manual_seed(5))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    other = task.batch(images(), torch.Generator().manual_seed(6))
    assert not torch.equal(first[0], other[0])


def test_windows_labelled_normal_hold_no_paste():
    config = PretextConfig(image_jitter=0, flips=False, patch_jitter=0)
    task = CutPasteTask(config, 8)
    before = images(8)
    after, labels = task.batch(before, torch.Generator().manual_seed(0))
    for i, y, x in (labels == 0).nonzero().tolist():
        window = (slice(None), slice(8 * y, 8 * y + 64), slice(8 * x, 8 * x + 64))
        assert torch.equal(before[i][window], after[i][window])
    for i, y, x in (labels > 0).nonzero().tolist():
        window = (slice(None), slice(8 * y, 8 * y + 64), slice(8 * x, 8 * x + 64))
        assert not torch.equal(before[i][window], after[i][window])


def test_the_loss_ignores_what_does_not_count_and_weighs_pastes_twice():
    task = CutPasteTask(PretextConfig(), 8)
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[[0, 1], [2, IGNORE]]])
    logs = logits.log_softmax(1)
    terms = [logs[0, 0, 0, 0] * 1, logs[0, 1, 0, 1] * 2, logs[0, 2, 1, 0] * 2]
    torch.testing.assert_close(task.loss(logits, labels), -sum(terms) / 5)


def test_crops_are_crops():
    batch = images(6, 80)
    crops = random_crops(batch, 64, torch.Generator().manual_seed(0))
    for image, crop in zip(batch, crops, strict=True):
        places = [(y, x) for y in range(17) for x in range(17) if torch.equal(image[:, y : y + 64, x : x + 64], crop)]
        assert len(places) == 1


def test_bad_ranges_are_refused():
    with pytest.raises(ValueError, match="rising"):
        PretextConfig(area=(0.2, 0.1))
