"""Batches and loss of the CutPaste task."""

import pytest
import torch

from trainer.config import PretextConfig
from trainer.encoders.dense import DensePatchEncoder
from trainer.pretext.cutpaste import CutPasteTask, random_crops
from trainer.pretext.windows import IGNORE

NAMES = ["cutpaste", "cutpaste-scar", "cutpaste-union", "cutpaste-3way"]


def images(n=4, side=96, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


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


def test_each_scale_has_a_loss_of_its_own():
    one, two = CutPasteTask(PretextConfig(), 8), CutPasteTask(PretextConfig(scales=2), 8)
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 3, 4, 5, generator=generator), torch.randint(-1, 3, (6, 4, 5), generator=generator)
    parts = [one.loss(logits[part], labels[part]) for part in (slice(0, 3), slice(3, 6))]
    torch.testing.assert_close(two.loss(logits, labels), sum(parts))
    with pytest.raises(ValueError, match="scales=2"):
        two.classifier((16,))


PLAIN = {"image_jitter": 0, "patch_jitter": 0, "flips": False}


def changes(config, before, seed=0):
    """The pixels in which a dense batch differs from its images, bool [n, h, w], and the batch."""
    after, labels = CutPasteTask(config, 8).batch(before, torch.Generator().manual_seed(seed))
    return (after != before).any(1), after, labels


def test_a_faint_scar_changes_as_much_less():
    changed, after, _ = changes(PretextConfig(**PLAIN, name="cutpaste-scar", pastes=(1, 1)), images(8))
    before = images(8)
    _, faint, _ = changes(PretextConfig(**PLAIN, name="cutpaste-scar", pastes=(1, 1), scar_blend=(0.25, 0.25)), before)
    assert changed.any()
    torch.testing.assert_close(faint - before, 0.25 * (after - before))


def test_patches_of_another_image():
    levels = torch.linspace(0, 1, 5).view(5, 1, 1, 1).expand(5, 3, 96, 96).contiguous()
    changed, after, _ = changes(PretextConfig(**PLAIN, source="other", pastes=(1, 1)), levels)
    for i in range(5):
        assert changed[i].any()
        torch.testing.assert_close(after[i, 0][changed[i]].unique(), levels[i - 1, 0, 0, 0].view(1))


def test_contrast_of_a_patch_is_changed_about_the_mean_of_its_image():
    halves = torch.cat((torch.full((64, 3, 96, 160), 0.2), torch.ones(64, 3, 64, 160)), 2)
    config = PretextConfig(name="cutpaste", image_jitter=0, flips=False, pastes=(1, 1), area=(0.003, 0.004))
    changed, after, _ = changes(config, halves)
    levels = torch.stack([image[0][where].median() for image, where in zip(after, changed, strict=True) if where.any()])
    dark = levels[levels < 0.5]
    # About its own mean an even patch would not change, but for its brightness: 0.18 to 0.22.
    assert ((dark < 0.178) | (dark > 0.222)).float().mean() > 0.3


def test_seamless_patches_meet_their_surroundings():
    ramp = torch.linspace(0.2, 0.8, 96).view(1, 1, 1, 96).expand(12, 3, 96, 96).contiguous()
    wave = 0.1 * torch.sin(torch.arange(96) / 4).view(1, 1, 96, 1)
    keys = {**PLAIN, "name": "cutpaste", "pastes": (1, 1), "area": (0.05, 0.1)}
    seams = []
    for poisson in (0, 1):
        changed, after, labels = changes(PretextConfig(**keys, poisson=poisson), ramp + wave)
        assert changed.any(-1).any(-1).all()
        assert (labels == 1).any()
        seams.append(float(after.diff(dim=3).abs().amax()))
    assert seams[1] < 0.6 * seams[0]
    config = PretextConfig(**{**keys, "name": "cutpaste-scar"}, poisson=1)
    plain = config.model_copy(update={"poisson": 0})
    # Scars are turned, so they are laid as they are.
    assert changes(config, ramp + wave)[0].any()
    assert changes(plain, ramp + wave)[0].any()


@pytest.mark.parametrize(("mode", "window", "crop"), [("dense", 64, 64), ("crops", 64, 64), ("crops", 32, 32)])
def test_every_option_at_once(mode, window, crop):
    config = PretextConfig(
        mode=mode,
        crop=crop,
        scar_blend=(0.2, 1),
        source="other",
        poisson=0.5,
        scales=2 if mode == "dense" else 1,
    )
    task = CutPasteTask(config, 8, window)
    inputs, labels = task.batch(images(), torch.Generator().manual_seed(0))
    classifier = task.classifier((16, 8))
    logits = classifier(torch.rand(len(inputs), 24, *labels.shape[1:]))
    assert torch.isfinite(task.loss(logits, labels))
    assert 0 <= inputs.min()
    assert inputs.max() <= 1


def test_crops_are_crops():
    batch = images(6, 80)
    crops = random_crops(batch, 64, torch.Generator().manual_seed(0))
    for image, crop in zip(batch, crops, strict=True):
        places = [(y, x) for y in range(17) for x in range(17) if torch.equal(image[:, y : y + 64, x : x + 64], crop)]
        assert len(places) == 1


@pytest.mark.parametrize(("window", "crop"), [(64, 64), (32, 64), (32, 32)])
def test_crops_of_either_side_have_one_label_each(window, crop):
    config = PretextConfig(mode="crops", crop=crop, area=(0.02, 0.15))
    task = CutPasteTask(config, 8, window)
    before = images(5, 80)
    inputs, labels = task.batch(before, torch.Generator().manual_seed(0))
    assert inputs.shape == (15, 3, crop, crop)
    assert labels.flatten().tolist() == [0] * 5 + [1] * 5 + [2] * 5
    encoder = DensePatchEncoder(8, 4, 16, window)
    logits = task.classifier(encoder.scales)(encoder(inputs))
    assert logits.shape == (15, 3, 1, 1)
    assert torch.isfinite(task.loss(logits, labels))


def test_scars_longer_than_a_crop_are_cut_to_fit():
    config = PretextConfig(
        **PLAIN, name="cutpaste-scar", mode="crops", crop=32, scar_width=(16, 16), scar_length=(90, 90)
    )
    plain, scarred = CutPasteTask(config, 4, 32).batch(images(32), torch.Generator().manual_seed(0))[0].chunk(2)
    covered = (plain != scarred).any(1).float().mean((1, 2))
    # 16 x 32 of 32 x 32 pixels, less the corners that a turn takes out of the crop.
    assert covered.max() <= 0.5
    assert covered.min() > 0.4


def test_windows_of_32_pixels_are_labelled_in_whole_images():
    task = CutPasteTask(PretextConfig(**PLAIN), 8, 32)
    before = images(8)
    after, labels = task.batch(before, torch.Generator().manual_seed(0))
    assert labels.shape == (8, 9, 9)
    same = (before == after).all(1)
    for i, y, x in (labels == 0).nonzero().tolist():
        assert same[i, 8 * y : 8 * y + 32, 8 * x : 8 * x + 32].all()
    for i, y, x in (labels > 0).nonzero().tolist():
        assert not same[i, 8 * y : 8 * y + 32, 8 * x : 8 * x + 32].all()
    assert {0, 1, 2} <= set(labels.unique().tolist())
    encoder = DensePatchEncoder(8, 4, 16, 32)
    assert torch.isfinite(task.loss(task.classifier(encoder.scales)(encoder(after)), labels))
    with pytest.raises(ValueError, match="scales=2"):
        CutPasteTask(PretextConfig(scales=2), 8, 32).classifier(encoder.scales)


def test_a_crop_smaller_than_a_window_is_refused():
    with pytest.raises(ValueError, match="crop=32 is smaller"):
        CutPasteTask(PretextConfig(mode="crops", crop=32), 8)
    assert CutPasteTask(PretextConfig(crop=32), 8).classes == 3  # of no account in whole images


def test_bad_ranges_are_refused():
    with pytest.raises(ValueError, match="rising"):
        PretextConfig(area=(0.2, 0.1))


def test_centres_are_classified_only_in_dense_mode():
    with pytest.raises(ValueError, match="dense"):
        PretextConfig(mode="crops", scales=2)
