"""Pretraining of one encoder: it learns, is deterministic, and resumes after an interruption at any step."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from edge_occ.common.errors import InputError
from trainer.config import BranchConfig, EncoderConfig, OptimiserConfig, PretextConfig
from trainer.encoders.build import make_encoder
from trainer.pretext.task import Task, accuracies
from trainer.pretrain import fit_encoder as fit_module
from trainer.pretrain.fit_encoder import Tally, fit_encoder, learning_rate
from trainer.pretrain.update import Pretraining, Updates

CPU = torch.device("cpu")


def config(steps=6, **optimiser):
    return BranchConfig(
        encoder=EncoderConfig(width=4, dim=16),
        optimiser=OptimiserConfig(steps=steps, batch=4, **optimiser),
        head={"dim": 8},
    )


WHOLE: dict[str, dict[str, object]] = {
    "rotation": {"name": "rotation"},
    "rotation of views": {"name": "rotation", "views": True},
    "contrastive": {"name": "contrastive", "views": True},
    "contrastive, symmetric": {"name": "contrastive", "views": True, "symmetric": True},
    "contrastive-da": {"name": "contrastive-da", "views": True},
    "contrastive-da, eight copies": {"name": "contrastive-da", "views": True, "copies": 8},
}
"""Tasks on whole images."""


def whole(name, steps=4, hidden=2, **optimiser):
    """Settings of one of them, for images of 32 pixels."""
    pretext = {"mode": "image", "hidden_layers": hidden, "hidden_width": 16, "embedding": 8, **WHOLE[name]}
    return BranchConfig.model_validate(
        {
            "encoder": {"name": "resnet18", "base_width": 8},
            "views": {"enabled": pretext.pop("views", False)},
            "pretext": pretext,
            "optimiser": {"steps": steps, "batch": 4, **optimiser},
            "head": {"dim": 8},
        }
    )


def images(n=6, side=96):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 12, 12, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return (smooth * 255).byte()


def train(path, settings, seed=0, fingerprint="x"):
    """A fresh encoder, trained; and how."""
    side = 96 if settings.encoder.name == "dense" else 32
    torch.manual_seed(seed)
    encoder = make_encoder(settings.encoder, (side, side))
    return encoder, fit_encoder(images(side=side), encoder, settings, seed, CPU, path, fingerprint)


def weights(encoder):
    return torch.cat([value.flatten().float() for value in encoder.state_dict().values()])


def test_a_seed_gives_one_encoder(tmp_path):
    first, history = train(tmp_path / "a", config(), 3)
    second, again = train(tmp_path / "b", config(), 3)
    other, _ = train(tmp_path / "c", config(), 4)
    assert torch.equal(weights(first), weights(second))
    assert history.history == again.history
    assert not torch.equal(weights(first), weights(other))
    assert not first.training


def test_the_seed_is_of_the_steps_too(tmp_path):
    """Two runs that begin with the same weights."""
    encoders = []
    for seed in (3, 4):
        torch.manual_seed(0)
        encoder = make_encoder(config().encoder, (96, 96))
        fit_encoder(images(), encoder, config(), seed, CPU, tmp_path / str(seed), "x")
        encoders.append(encoder)
    assert not torch.equal(weights(encoders[0]), weights(encoders[1]))


@pytest.mark.parametrize("name", ["cutpaste", "cutpaste-scar", "cutpaste-union", "cutpaste-3way"])
@pytest.mark.parametrize("mode", ["dense", "crops", "image"])
def test_every_form_of_the_task_trains(tmp_path, name, mode):
    settings = config(2).model_copy(update={"pretext": PretextConfig(name=name, mode=mode, area=(0.02, 0.15))})
    encoder, fit = train(tmp_path / "c", settings)
    classes = 3 if name == "cutpaste-3way" else 2
    assert [len(row) for row in fit.history] == [2 + classes]
    assert torch.isfinite(weights(encoder)).all()


@pytest.mark.parametrize("name", WHOLE)
def test_every_task_on_whole_images_trains_and_repeats_itself(tmp_path, name):
    encoder, fit = train(tmp_path / "a", whole(name))
    again, same = train(tmp_path / "b", whole(name))
    assert torch.equal(weights(encoder), weights(again))
    assert fit.history == same.history
    ((step, loss, *shares),) = fit.history
    assert step == 4
    assert loss > 0
    assert len(shares) == len(fit.figures.names) == (4 if "rotation" in name else 2)
    assert all(0 <= share <= 1 for share in shares)


@pytest.mark.parametrize(("name", "classes"), [("rotation", True), ("contrastive", False)])
def test_the_trained_projection_head_is_kept(tmp_path, name, classes):
    encoder, fit = train(tmp_path / "a", whole(name))
    _, longer = train(tmp_path / "b", whole(name, steps=5))
    assert not fit.projection.training
    pixels = encoder.normalise(images(5, 32).float())
    with torch.inference_mode():
        features = encoder(pixels)
        embedded = fit.projection.embed(features)
        assert embedded.shape == (5, 8)
        assert fit.projection(features).shape == (5, 4 if classes else 8, 1, 1)
        assert not torch.equal(longer.projection.embed(features), embedded)
    # A finished run, taken up again, has it too.
    _, loaded = train(tmp_path / "a", whole(name))
    with torch.inference_mode():
        assert torch.equal(loaded.projection.embed(features), embedded)


def test_windows_have_no_projection_head(tmp_path):
    assert train(tmp_path / "c", config(1))[1].projection is None


@pytest.mark.parametrize("name", ["rotation", "contrastive"])
def test_everything_decays_batch_normalisation_and_biases_too(tmp_path, name, monkeypatch):
    """One step of plain SGD: its weights differ from those without decay by rate times decay times what they were."""
    models = []
    original = Updates.__call__

    def update(self, step):
        model = self._model
        models.append([model, {name: value.detach().clone() for name, value in model.named_parameters()}])
        return original(self, step)

    monkeypatch.setattr(Updates, "__call__", update)
    for decay in (0, 0.5):
        settings = whole(name, steps=1, learning_rate=0.1, warmup=0, nesterov=False, weight_decay=decay)
        train(tmp_path / str(decay), settings)
    (without, _), (model, begun) = models
    plain = dict(without.named_parameters())
    seen = set()
    for key, value in model.named_parameters():
        torch.testing.assert_close(plain[key] - value, 0.05 * begun[key], rtol=1e-2, atol=1e-6, msg=key)
        seen.add(key.split(".")[-2])
    assert {"bn1", "conv1", "classifier" if name == "rotation" else "layers"} <= seen | {"layers"}


@pytest.mark.parametrize("name", ["contrastive", "contrastive-da"])
def test_a_collapsed_training_is_given_up(tmp_path, monkeypatch, name):
    """A rate at which nothing is learnt: the views of an image stay as unlike as those of others."""
    monkeypatch.setattr(fit_module, "MIN_STEPS", 60)
    settings = whole(name, steps=200, hidden=4, learning_rate=1e-9, warmup=0, checkpoint_seconds=0.1)
    for _ in range(2):  # typed again, it goes on from the checkpoint to the same end
        with pytest.raises(InputError, match=r"at step 60: training has collapsed.*--restart") as caught:
            train(tmp_path / "c", settings)
        assert "below 1.372 (guessing has 1.386)" in str(caught.value)
        assert (tmp_path / "c").exists()


def test_a_short_or_warming_training_is_not_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "MIN_STEPS", 60)
    train(tmp_path / "a", whole("contrastive", steps=59, hidden=4, learning_rate=1e-9))
    train(tmp_path / "b", whole("contrastive", steps=60, hidden=4, learning_rate=1e-9, warmup=0.9))


@pytest.mark.long
def test_a_compiled_network_learns_the_same(tmp_path, monkeypatch):
    """But for rounding; checkpoints go from one to the other.  Captured as for Inductor, but run without its minute of
    compilation; benchmarks/pretrain_throughput.py does that.
    """
    calls = []

    def captured(model):
        calls.append(model)
        torch.nn.Module.compile(model, backend="aot_eager")

    monkeypatch.setattr(Pretraining, "compile", captured)
    encoder, fit = train(tmp_path / "a", config(2, learning_rate=1e-3))
    compiled, of_compiled = train(tmp_path / "b", config(2, learning_rate=1e-3, compile=True))
    assert len(calls) == 1
    assert of_compiled.history[-1][1] == pytest.approx(fit.history[-1][1], rel=1e-3)
    assert encoder.state_dict().keys() == compiled.state_dict().keys()
    torch.testing.assert_close(weights(compiled), weights(encoder), rtol=1e-2, atol=1e-2)


# Inductor imports a part of torch that torch itself has deprecated.
@pytest.mark.long
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_missing_compiler_is_an_error(tmp_path, monkeypatch):
    from torch._inductor import config as inductor

    torch.compiler.reset()
    monkeypatch.setattr(inductor.cpp, "cxx", (None, "/nowhere/g++"))
    with pytest.raises(InputError, match=r"No working C\+\+ compiler.*leave out optimiser.compile"):
        train(tmp_path / "c", config(1, compile=True))


def test_training_lowers_the_loss(tmp_path):
    _, fit = train(tmp_path / "c", config(40, learning_rate=0.05))
    losses = [row[1] for row in fit.history]
    assert [row[0] for row in fit.history] == [10, 20, 30, 40]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("settings", [config(), whole("contrastive-da", steps=6)], ids=["dense", "contrastive-da"])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch, settings):
    expected, _ = train(tmp_path / "whole", settings)
    steps = []
    original = Updates.__call__

    def update(*arguments):
        steps.append(1)
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    monkeypatch.setattr(Updates, "__call__", update)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "part", settings)
    resumed, _ = train(tmp_path / "part", settings)
    assert len(steps) == 6
    assert torch.equal(weights(resumed), weights(expected))


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    """SIGKILL, which nothing can catch: the checkpoint on disk is whole."""
    code = (
        "import tests_fit as t; from pathlib import Path;"
        "t.train(Path('checkpoint'), t.config(100000, checkpoint_seconds=0.05))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    shutil.copy(__file__, tmp_path / "tests_fit.py")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "checkpoint"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    from trainer.pretrain.checkpoint import load_checkpoint

    model, optimiser = fresh()
    state = load_checkpoint(checkpoint, "x", model, optimiser)
    assert state.step > 0


def fresh():
    from trainer.pretext.build import make_task

    settings = config()
    encoder = make_encoder(settings.encoder, (96, 96))
    model = Pretraining(encoder, make_task(settings, encoder).classifier(encoder.scales))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def test_a_checkpoint_of_another_run_is_refused_and_not_changed(tmp_path):
    path = tmp_path / "c"
    train(path, config())
    before = path.read_bytes()
    with pytest.raises(InputError, match="--restart"):
        train(path, config(), fingerprint="y")
    assert path.read_bytes() == before


def test_a_damaged_checkpoint_is_an_error(tmp_path):
    path = tmp_path / "c"
    train(path, config(2))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        train(path, config(2))


def test_a_finished_run_is_not_repeated(tmp_path, monkeypatch):
    first, fit = train(tmp_path / "c", config())
    monkeypatch.setattr(Updates, "__call__", lambda *arguments: pytest.fail("trained again"))
    second, again = train(tmp_path / "c", config())
    assert torch.equal(weights(first), weights(second))
    assert again.history == fit.history


def test_the_learning_rate_rises_and_falls():
    settings = OptimiserConfig(steps=100, learning_rate=0.1, warmup=0.1)
    rates = [learning_rate(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == rates[9] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


class ThreeClasses(Task):
    """Three classes and the default figures of a task."""

    figures = accuracies(("a", "b", "c"), "do nothing")
    classifier = batch = loss = None


def test_the_tally_equals_counting():
    generator = torch.Generator().manual_seed(0)
    tally, losses, hits, counts = Tally(), [], [0] * 3, [0] * 3
    for _ in range(4):
        logits = torch.randn(2, 3, 4, 4, generator=generator)
        labels = torch.randint(-1, 3, (2, 4, 4), generator=generator)
        loss = torch.rand((), generator=generator)
        tally.add(loss, ThreeClasses().count(logits, labels))
        losses.append(float(loss))
        for i in range(2):
            for y in range(4):
                for x in range(4):
                    label = int(labels[i, y, x])
                    if label >= 0:
                        counts[label] += 1
                        hits[label] += int(logits[i, :, y, x].argmax()) == label
    expected = [sum(losses) / 4, *(h / c for h, c in zip(hits, counts, strict=True))]
    assert tally.take() == pytest.approx(expected)
    tally.add(torch.tensor(1.0), torch.tensor([[0, 0], [3, 4]]))
    assert tally.take() == [1, 0, 0.75]
