"""Processes that train one encoder together, a GPU each, on one machine or several (data parallelism by ``torchrun``).

Alone, which is the rule, every function is as if there were one process in all.
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
    """Whether ``torchrun`` started this process."""
    return distributed.is_torchelastic_launched()


def local_rank() -> int:
    """Which of its machine's processes this is; it has the GPU of this number."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def limit_threads() -> None:
    """Let torch have no more threads than this process may use processors, which it counts without the quota of a
    container; fewer, by ``OMP_NUM_THREADS`` say, stay as they are.
    """
    torch.set_num_threads(min(torch.get_num_threads(), usable_processors()))


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the other processes that ``torchrun`` started, if it did, until the end of the block.

    Args:
        device: of this process; GPUs talk by NCCL, CPUs by Gloo.
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
    """How many processes have joined."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is; 0 alone writes files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def wait() -> None:
    """Until all are here."""
    if count() > 1:
        distributed.barrier()


def anywhere(flag: bool, device: torch.device) -> bool:
    """Whether it is so in any process; all must ask at the same place."""
    if count() == 1:
        return flag
    shared = torch.tensor(int(flag), device=device)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return bool(shared)


def gather(own: Tensor) -> list[Tensor]:
    """The tensors of all processes, by rank.

    Gradients flow into the process' own alone: where each computes the same loss from all of them, the sum of the
    processes' gradients is that of the loss.

    Args:
        own: of the same shape and type in every process.
    """
    if count() == 1:
        return [own]
    parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(count())]
    distributed.all_gather(parts, own.detach().contiguous())
    parts[rank()] = own
    return parts


def choose_device(name: str) -> torch.device:
    """``auto`` takes a GPU if there is one; each process of a machine takes one of its own.

    torch's threads on the CPU are limited to the processors that this process may use.

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
