"""Processes that train one encoder together, with one GPU each, on one machine or several (``torchrun``).

Without ``torchrun``, every function behaves as with one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

from edge_occ.common.errors import InputError
from engines.processors import usable_processors


def launched() -> bool:
    """Return whether ``torchrun`` started this process."""
    return distributed.is_torchelastic_launched()


def local_rank() -> int:
    """Return the number of this process on its machine, which is also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def limit_threads() -> None:
    """Limit torch's threads to the processors that this process may use.

    torch ignores the quota of a container.  A lower limit, for instance by ``OMP_NUM_THREADS``, is kept.
    """
    torch.set_num_threads(min(torch.get_num_threads(), usable_processors()))


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the other processes of ``torchrun``, if there are any, until the end of the block.

    Args:
        device: of this process; GPUs communicate by NCCL, CPUs by Gloo.
    """
    if not launched():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def count() -> int:
    """Return the number of processes that have joined."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process among them; only 0 writes files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def wait() -> None:
    """Wait until all processes have arrived here."""
    if count() > 1:
        distributed.barrier()


def anywhere(flag: bool, device: torch.device) -> bool:
    """Return whether the flag is true in any process; all processes must call this at the same point."""
    if count() == 1:
        return flag
    shared = torch.tensor(int(flag), device=device)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return bool(shared)


def gather(own: Tensor) -> list[Tensor]:
    """Return the tensors of all processes, by rank.

    Gradients flow into the process' own tensor alone.  If every process computes the same loss from all tensors, the
    sum of the processes' gradients is the gradient of the loss.

    Args:
        own: tensor of the same shape and type in every process.
    """
    if count() == 1:
        return [own]
    parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(count())]
    distributed.all_gather(parts, own.detach().contiguous())
    parts[rank()] = own
    return parts


def choose_device(name: str) -> torch.device:
    """Return the device to train on, and limit torch's threads.

    Args:
        name: ``cpu``, ``cuda``, or ``auto`` for a GPU if there is one; each process of a machine gets its own GPU.

    Raises:
        InputError: unknown name, or ``cuda`` without a usable GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError("a device of auto, cpu, cuda", repr(name), "choose one with --device")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("a CUDA GPU that torch can use", f"none (torch {torch.__version__})", "use --device cpu")
    limit_threads()
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank()) if launched() else torch.device("cuda")
