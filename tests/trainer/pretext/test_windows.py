"""Window labels against counting pixels, and the classifiers of the scales."""

import pytest
import torch

from trainer.config import PretextConfig
from trainer.encoders.dense import DensePatchEncoder
from trainer.pretext.windows import IGNORE, WindowClassifier, label_windows


def naive_labels(before, after, classes, kinds, config, stride, side, wide=64):
    margin, labels = (wide - side) // 2, []
    n, _, height, width = before.shape
    for i in range(n):
        changed = (after[i] - before[i]).abs().mean(0) > config.visible
        grid = []
        for y in range(margin, height - wide + 1 + margin, stride):
            line = []
            for x in range(margin, width - wide + 1 + margin, stride):
                window = classes[i, 0, y : y + side, x : x + side]
                seen = window[changed[y : y + side, x : x + side]]
                pasted = int((window > 0).sum())
                visible = [int((seen == kind).sum()) for kind in range(1, kinds + 1)]
                if pasted == 0:
                    line.append(0)
                elif max(visible) >= config.min_pixels and pasted <= config.max_covered * side * side:
                    line.append(1 + visible.index(max(visible)))
                else:
                    line.append(IGNORE)
            grid.append(line)
        labels.append(grid)
    return torch.tensor(labels)


def example():
    before = torch.rand(4, 3, 96, 99, generator=torch.Generator().manual_seed(0))
    classes = torch.zeros(4, 1, 96, 99, dtype=torch.uint8)
    classes[0, :, 10:20, 70:90] = 1  # visible in its lower half
    classes[1, :, 0:70, 0:80] = 2  # fills the first window
    classes[2, :, 40:44, 40:44] = 1  # too small
    classes[3, :, 30:50, 30:34] = 1
    classes[3, :, 50:56, 30:60] = 2  # most of what windows hold on the right, less on the left
    after = torch.where(classes > 0, 1 - before, before)
    after[0, :, 10:15] = before[0, :, 10:15]
    return before, after, classes


@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("scales", [1, 2])
def test_labels_equal_counting_pixels(stride, scales):
    config = PretextConfig(scales=scales)
    before, after, classes = example()
    found = label_windows(before, after, classes, 2, config, stride).chunk(scales)
    for labels, side in zip(found, (64, 32), strict=False):
        assert torch.equal(labels, naive_labels(before, after, classes, 2, config, stride, side))
    assert {IGNORE, 0, 1, 2} == set(found[0].unique().tolist())


@pytest.mark.parametrize("stride", [4, 8])
def test_labels_of_windows_of_32_pixels_equal_counting_pixels(stride):
    before, after, classes = example()
    labels = label_windows(before, after, classes, 2, PretextConfig(), stride, 32)
    encoder = DensePatchEncoder(stride, 4, 16, 32)
    assert labels.shape == (4, len(encoder.centres(96)), len(encoder.centres(99)))
    assert torch.equal(labels, naive_labels(before, after, classes, 2, PretextConfig(), stride, 32, 32))
    assert {IGNORE, 0, 1, 2} == set(labels.unique().tolist())


def test_a_paste_that_changes_nothing_is_no_defect():
    white = torch.ones(2, 3, 96, 96)
    classes = torch.zeros(2, 1, 96, 96, dtype=torch.uint8)
    classes[0, :, 20:50, 20:50] = 1
    classes[1, :, 20:50, 20:50] = 2
    labels = label_windows(white, white, classes, 2, PretextConfig(), 8)
    assert set(labels.unique().tolist()) == {IGNORE}


def test_labels_of_the_centres_are_those_of_what_the_narrow_features_see():
    encoder = DensePatchEncoder(8, 4, 16).eval()
    before = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    after = before.clone()
    after[:, :, 44:52, 60:68] = 0
    classes = torch.zeros(1, 1, 96, 96, dtype=torch.uint8)
    classes[:, :, 44:52, 60:68] = 1
    _, centres = label_windows(before, after, classes, 1, PretextConfig(scales=2), 8).chunk(2)
    with torch.no_grad():
        narrow = (encoder(before) - encoder(after))[:, encoder.scales[0] :]
    changed = narrow.abs().amax(1) > 0
    # Where no pixel of a central square is pasted its features have not changed.
    assert not changed[centres == 0].any()
    assert changed[centres == 1].all()
    assert {0, 1} <= set(centres.unique().tolist())


@pytest.mark.parametrize("used", [1, 2])
def test_each_scale_has_a_classifier_of_its_own(used):
    torch.manual_seed(0)
    features = torch.rand(2, 12, 3, 5, requires_grad=True)
    classifier = WindowClassifier((8, 4), used, 3)
    logits = classifier(features)
    assert logits.shape == (2 * used, 3, 3, 5)
    for scale, part in enumerate((slice(0, 8), slice(8, 12))[:used]):
        (gradient,) = torch.autograd.grad(logits[2 * scale :][:2].square().sum(), features, retain_graph=True)
        touched = gradient.abs().sum((0, 2, 3)) > 0
        expected = torch.zeros(12, dtype=torch.bool)
        expected[part] = True
        assert torch.equal(touched, expected)


def test_a_crop_has_the_mean_of_its_positions():
    torch.manual_seed(0)
    encoder = DensePatchEncoder(4, 4, 16, 32).eval()
    classifier = WindowClassifier(encoder.scales, 1, 3, pooled=True).eval()
    crops = torch.rand(5, 3, 64, 64)
    with torch.inference_mode():
        logits = classifier(encoder(crops))
        assert logits.shape == (5, 3, 1, 1)
        for crop, found in zip(crops, logits, strict=True):
            places = [(y, x) for y in range(0, 33, 4) for x in range(0, 33, 4)]
            features = sum(encoder(crop[None, :, y : y + 32, x : x + 32]) for y, x in places) / 81
            torch.testing.assert_close(classifier.heads[0](features)[0], found)


def test_a_crop_of_one_window_has_the_very_logits_of_that_window():
    torch.manual_seed(0)
    pooled, plain = (WindowClassifier((16, 8), 1, 3, pooled=pooled) for pooled in (True, False))
    plain.load_state_dict(pooled.state_dict())
    features = torch.rand(6, 24, 1, 1)
    assert torch.equal(pooled(features), plain(features))
