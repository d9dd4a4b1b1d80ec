"""Stage 1: learns, repeats itself, and survives being stopped anywhere."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from edge_occ.errors import InputError
from trainer import fit as fit_module
from trainer.config import BranchConfig, EncoderConfig, OptimiserConfig, PretextConfig
from trainer.encoders.build import make_encoder
from trainer.fit import Tally, fit_encoder, learning_rate

CPU = torch.device("cpu")


def config(steps=6, **optimiser):
    return BranchConfig(
        encoder=EncoderConfig(width=4, dim=16),
        optimiser=OptimiserConfig(steps=steps, batch=4, **optimiser),
        head={"dim": 8},
    )


def images(n=6):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 12, 12, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (96, 96), mode="bilinear")
    return (smooth * 255).byte()


def train(path, settings, seed=0, fingerprint="x"):
    """A fresh encoder, trained; and how."""
    torch.manual_seed(seed)
    encoder = make_encoder(settings.encoder)
    return encoder, fit_encoder(images(), encoder, settings, seed, CPU, path, fingerprint)


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
        encoder = make_encoder(config().encoder)
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


def test_it_learns(tmp_path):
    _, fit = train(tmp_path / "c", config(40, learning_rate=0.05))
    losses = [row[1] for row in fit.history]
    assert [row[0] for row in fit.history] == [10, 20, 30, 40]
    assert losses[-1] < 0.9 * losses[0]


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    whole, _ = train(tmp_path / "whole", config())
    steps = []
    original = fit_module._update

    def update(*arguments):
        steps.append(1)
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    monkeypatch.setattr(fit_module, "_update", update)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "part", config())
    resumed, _ = train(tmp_path / "part", config())
    assert len(steps) == 6
    assert torch.equal(weights(resumed), weights(whole))


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    """SIGKILL, which nothing can catch: the checkpoint on disk is whole."""
    code = (
        "import tests_fit as t; from pathlib import Path;"
        "t.train(Path('checkpoint'), t.config(100000, checkpoint_seconds=0.05))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    shutil.copy(__file__, tmp_path / "tests_fit.py")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "checkpoint"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    from trainer.checkpoint import load_checkpoint

    model, optimiser = fresh()
    state = load_checkpoint(checkpoint, "x", model, optimiser)
    assert state.step > 0


def fresh():
    from trainer.pretext.build import make_task

    settings = config()
    encoder = make_encoder(settings.encoder)
    classifier = make_task(settings.pretext, encoder).classifier(encoder.scales)
    model = torch.nn.ModuleDict({"encoder": encoder, "classifier": classifier})
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def test_another_runs_checkpoint_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "c"
    train(path, config())
    before = path.read_bytes()
    with pytest.raises(InputError, match="--restart"):
        train(path, config(), fingerprint="y")
    assert path.read_bytes() == before


def test_a_damaged_checkpoint_is_told(tmp_path):
    path = tmp_path / "c"
    train(path, config(2))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"):
        train(path, config(2))


def test_a_finished_run_is_not_repeated(tmp_path, monkeypatch):
    first, fit = train(tmp_path / "c", config())
    monkeypatch.setattr(fit_module, "_update", lambda *arguments: pytest.fail("trained again"))
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


def test_the_tally_equals_counting():
    generator = torch.Generator().manual_seed(0)
    tally, losses, hits, counts = Tally(3), [], [0] * 3, [0] * 3
    for _ in range(4):
        logits = torch.randn(2, 3, 4, 4, generator=generator)
        labels = torch.randint(-1, 3, (2, 4, 4), generator=generator)
        loss = torch.rand((), generator=generator)
        tally.add(loss, logits, labels)
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
