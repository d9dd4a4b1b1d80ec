"""Two processes of torchrun train as one does; and the parts of this, tested in one process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file, save_file

from edge_occ.common.errors import InputError
from trainer.config import BranchConfig
from trainer.encoders.build import make_encoder
from trainer.pretrain import fit_encoder as fit_module
from trainer.pretrain import processes
from trainer.pretrain.fit_encoder import fit_encoder
from trainer.pretrain.synchronised_norm import SynchronisedBatchNorm2d, synchronise

pytestmark = pytest.mark.long

CPU = torch.device("cpu")
GENTLE = {"learning_rate": 1e-4, "warmup": 0}

ON_WHOLE_IMAGES = {"mode": "image", "hidden_layers": 1, "hidden_width": 16, "embedding": 8}
TASKS = {
    "rotation": {"name": "rotation", **ON_WHOLE_IMAGES},
    "contrastive-da": {"name": "contrastive-da", "symmetric": True, **ON_WHOLE_IMAGES, "hidden_layers": 0},
    "dense": {"name": "cutpaste-3way", "mode": "dense", "scales": 2, "area": (0.02, 0.15)},
}


def settings(task, steps=10, shards=2, batch=8, **optimiser):
    dense = task == "dense"
    encoder = {"name": "dense", "width": 4, "dim": 16} if dense else {"name": "resnet18", "base_width": 8}
    return BranchConfig.model_validate(
        {
            "encoder": encoder,
            "views": {"enabled": "contrastive" in task},
            "pretext": TASKS[task],
            "optimiser": {"steps": steps, "batch": batch, "shards": shards, **optimiser},
            "head": {"dim": 8},
        }
    )


def images(task):
    side = 96 if task == "dense" else 32
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(12, 3, 12, 12, generator=generator)
    return (torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear") * 255).byte()


def train(task, checkpoint, **changes):
    """History, every second step, and state of an encoder trained with or without others."""
    config, normal = settings(task, **changes), images(task)
    torch.manual_seed(0)
    encoder = make_encoder(config.encoder, normal.shape[2:])
    with mock.patch.object(fit_module, "_REPORT_EVERY", 2):
        fit = fit_encoder(normal, encoder, config, 0, CPU, checkpoint, "x")
    return fit.history, encoder.state_dict()


def together(folder, number=2, **arguments):
    """A command that does so in processes, each of which leaves its outcome in the folder."""
    (folder / "arguments.json").write_text(json.dumps(arguments))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([*launcher, __file__, str(folder)], env=environment, stderr=subprocess.PIPE, text=True)


def main(folder):
    arguments = json.loads((folder / "arguments.json").read_text())
    with processes.joined(CPU):
        for task in arguments.pop("tasks"):
            history, state = train(task, folder / f"{task}.checkpoint", **arguments)
            name = f"{task}-{processes.rank()}"
            (folder / f"{name}.json").write_text(json.dumps(history))
            save_file({key: value.contiguous() for key, value in state.items()}, folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    process = together(folder, tasks=list(TASKS), **GENTLE)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_two_processes_have_the_loss_curve_of_one_with_the_doubled_batch(pair, tmp_path, task):
    """Four images each, against eight; with the same figures, weights and running statistics at the end, but for
    rounding, which a training amplifies: hence the low rate.
    """
    history, state = train(task, tmp_path / "c", **GENTLE)
    _, other = train(task, tmp_path / "d", batch=4, **GENTLE)
    shared, weights = json.loads((pair / f"{task}-0.json").read_text()), load_file(pair / f"{task}-0.safetensors")
    assert [row[0] for row in shared] == [row[0] for row in history] == [2, 4, 6, 8, 10]
    for row, wanted in zip(shared, history, strict=True):
        assert row[1] == pytest.approx(wanted[1], rel=5e-3)
        assert row[2:] == pytest.approx(wanted[2:], abs=0.15)
    torch.manual_seed(0)
    begun = make_encoder(settings(task).encoder, images(task).shape[2:]).state_dict()
    moved = distance(begun, state)
    assert distance(weights, state) < 0.25 * moved
    assert distance(other, state) > moved
    for name in state:
        torch.testing.assert_close(weights[name], state[name], rtol=1e-2, atol=1e-2, msg=name)


def distance(one, other):
    """Of the parameters: what batches have in common moves the running statistics far more than what they learn."""
    names = [name for name in one if "running" not in name and "tracked" not in name]
    return sum(float((one[name] - other[name]).square().sum()) for name in names) ** 0.5


def test_the_processes_have_one_encoder(pair):
    for task in TASKS:
        first, second = (load_file(pair / f"{task}-{rank}.safetensors") for rank in (0, 1))
        for name, value in first.items():
            assert torch.equal(value, second[name]), name


def test_a_run_of_two_processes_goes_on_in_one(tmp_path):
    """SIGTERM to torchrun, as a scheduler sends it: all stop after the same step, and the first writes a checkpoint."""
    process = together(tmp_path, tasks=["rotation"], steps=100_000, checkpoint_seconds=0.2)
    checkpoint = tmp_path / "rotation.checkpoint"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    from trainer.pretext.build import make_task
    from trainer.pretrain.checkpoint import load_checkpoint
    from trainer.pretrain.update import Pretraining

    config = settings("rotation")
    encoder = make_encoder(config.encoder, (32, 32))
    model = Pretraining(encoder, make_task(config, encoder).classifier(encoder.scales))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = load_checkpoint(checkpoint, "x", model, optimiser).step
    assert step > 0
    history, _ = train("rotation", checkpoint, steps=step + 5)
    assert history[-1][0] == step + 5


def test_shards_that_processes_cannot_share_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(InputError, match=r"shards that 2 processes can share evenly.*optimiser\.shards=2"):
        train("rotation", tmp_path / "c", shards=1)


@pytest.mark.parametrize(("shards", "batch"), [(3, 8), (16, 16)])
def test_shards_that_do_not_fit_the_batch_or_the_images_are_refused(tmp_path, shards, batch):
    with pytest.raises(InputError, match=f"a batch of {batch} in {shards} shards, and 12 images"):
        train("rotation", tmp_path / "c", shards=shards, batch=batch)


def test_without_torchrun_there_is_one_process():
    with processes.joined(CPU):
        assert (processes.count(), processes.rank()) == (1, 0)
        assert processes.anywhere(True, CPU) is True
        assert processes.anywhere(False, CPU) is False
        tensor = torch.ones(3, requires_grad=True)
        (own,) = processes.gather(tensor)
        assert own is tensor
        processes.wait()


def test_a_synchronised_layer_is_the_layer_itself():
    """It shares parameters and statistics, and alone computes the same; so it folds into convolutions as before."""
    layer = torch.nn.BatchNorm2d(4, momentum=0.3)
    inner = torch.nn.Sequential(layer)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), inner)
    synchronise(model)
    replaced = inner[0]
    assert isinstance(replaced, SynchronisedBatchNorm2d)
    assert replaced.weight is layer.weight
    assert replaced.running_var is layer.running_var
    inputs = torch.rand(5, 4, 2, 2)
    before = layer.running_mean.clone()
    outputs = replaced(inputs)
    assert not torch.equal(layer.running_mean, before)
    torch.testing.assert_close(outputs, layer(inputs))
    torch.testing.assert_close(replaced.eval()(inputs), layer.eval()(inputs))
    assert set(replaced.state_dict()) == set(layer.state_dict())


if __name__ == "__main__":
    main(Path(sys.argv[1]))


def test_torch_has_no_more_threads_than_processors_and_not_more_than_before(monkeypatch):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        for usable, expected in ((8, 4), (3, 3), (4, 3)):
            monkeypatch.setattr(processes, "usable_processors", lambda usable=usable: usable)
            processes.limit_threads()
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
