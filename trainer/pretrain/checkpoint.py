"""Checkpoints of pretraining: tensors in safetensors, written atomically, never pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from edge_occ.common.errors import InputError
from edge_occ.common.files import atomic_write
from trainer.pretrain import processes

_MODEL, _MOMENTUM, _META = "model.", "momentum.", "edge_occ"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run.

    Attributes:
        step: number of updates done.
        seconds: training time so far.
        fingerprint: of settings, seed and data; only a run with the same fingerprint can resume.
        history: loss and accuracies so far, one row for each reported step.
    """

    step: int
    seconds: float
    fingerprint: str
    history: list[list[float]]


def save_checkpoint(path: Path, state: Checkpoint, model: nn.Module, optimiser: torch.optim.SGD) -> None:
    """Write parameters, buffers, momenta and the run's state atomically.

    Of several processes, whose states are equal, only the first writes.
    """
    if processes.rank() != 0:
        return
    tensors = {_MODEL + name: value for name, value in model.state_dict().items()}
    for index, parameter in enumerate(_parameters(optimiser)):
        momentum = optimiser.state[parameter].get("momentum_buffer")
        if momentum is not None:
            tensors[f"{_MOMENTUM}{index}"] = momentum
    contiguous = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(contiguous, {_META: json.dumps(vars(state))}))


def load_checkpoint(path: Path, fingerprint: str, model: nn.Module, optimiser: torch.optim.SGD) -> Checkpoint:
    """Restore a run in place.

    Raises:
        InputError: the file is damaged, or of a run with other settings, seed or data; it is left unchanged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {})[_META])
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        state = Checkpoint(**meta)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(
            f"a whole checkpoint at {path}", f"a damaged one ({error})", "start over with --restart"
        ) from error
    if state.fingerprint != fingerprint:
        raise InputError(
            f"the settings, seed, images and version of edge-occ with which {path} was begun",
            "others",
            "type the earlier command to continue it, choose another --out, or discard it with --restart",
        )
    model.load_state_dict({k[len(_MODEL) :]: v for k, v in tensors.items() if k.startswith(_MODEL)})
    for index, parameter in enumerate(_parameters(optimiser)):
        momentum = tensors.get(f"{_MOMENTUM}{index}")
        if momentum is not None:
            optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)
    return state


def _parameters(optimiser: torch.optim.SGD) -> list[Tensor]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]
