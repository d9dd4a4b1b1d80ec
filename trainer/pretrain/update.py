"""One update of pretraining, by one process or several: draw, augment, compute the loss, descend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edge_occ.common.errors import InputError
from trainer.config import OptimiserConfig
from trainer.encoders.base import Encoder
from trainer.pretext.task import Task
from trainer.pretrain import processes
from trainer.pretrain.synchronised_norm import synchronise

_SEED_APART = 1_000_003
"""Factor between seeds, more than the steps of any run.  A CPU generator uses only the lowest 32 bits of its seed."""


class Pretraining(nn.Module):
    """The trained network: the encoder and the task's classifier on its features."""

    def __init__(self, encoder: Encoder, classifier: nn.Module) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalised images ``[m, 3, h, w]`` to the task's outputs."""
        outputs: Tensor = self.classifier(self.encoder(inputs))
        return outputs


class Updates:
    """The updates of a run, each of which draws its randomness from the seed and its own number alone.

    A batch may consist of shards, each augmented with its own randomness, which the processes share.  So updates are
    equal, up to rounding, for any number of processes.  Batch statistics are those of the whole batch, and outputs
    (such as the negatives of contrastive learning) are gathered from all processes.

    Args:
        model: trained in place; on the device.
        task: the task to learn.
        optimiser: of the model's parameters.
        images: normal images, uint8 RGB ``[n, 3, height, width]``; kept on the device if they need at most half of its
            free memory.
        settings: batch, shards, and whether to compile the network.
        seed: of every update.
        device: device to compute on.

    Raises:
        InputError: there are fewer images than shards, or the processes cannot share the shards evenly; or, from an
            update, the network is to be compiled and there is no compiler.
    """

    def __init__(
        self,
        model: Pretraining,
        task: Task,
        optimiser: torch.optim.Optimizer,
        images: Tensor,
        settings: OptimiserConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        _check_shards(settings, len(images))
        self._model, self._task, self._optimiser = model, task, optimiser
        self._images = _held(images, device)
        self._batch, self._shards, self._seed, self._device = settings.batch, settings.shards, seed, device
        self._forward: nn.Module = model
        self._compiled = settings.compile
        if self._compiled:
            model.compile()
        if processes.count() > 1:
            synchronise(model)
            # Some tasks do not use every parameter, but every step of a task uses the same ones.
            self._forward = DistributedDataParallel(model, static_graph=True)

    def __call__(self, step: int) -> tuple[Tensor, Tensor, int]:
        """Do the update with this number.

        Returns:
            The loss, the result of :meth:`trainer.pretext.task.Task.count`, and the number of images of all processes.
        """
        if not self._compiled:
            return self._update(step)
        from torch._dynamo.exc import BackendCompilerFailed  # noqa: PLC0415 - takes seconds and is rarely needed

        try:
            return self._update(step)
        except BackendCompilerFailed as error:
            raise InputError(
                "a compiler that torch.compile can use: g++ on a CPU, Triton on a GPU",
                str(error).splitlines()[0],
                "install it, or leave out optimiser.compile",
            ) from error

    def _update(self, step: int) -> tuple[Tensor, Tensor, int]:
        inputs, labels, drawn = self._inputs(step)
        inputs = self._model.encoder.normalise(inputs * 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.device.type == "cuda"):
            outputs = self._forward(inputs)
        own = drawn // processes.count()
        outputs, labels = (_merged(processes.gather(part), own) for part in (outputs.float(), labels))
        loss = self._task.loss(outputs, labels)
        self._optimiser.zero_grad()
        (loss * processes.count()).backward()  # type: ignore[no-untyped-call]  # DistributedDataParallel averages gradients
        self._optimiser.step()
        return loss.detach(), self._task.count(outputs.detach(), labels), drawn

    def _inputs(self, step: int) -> tuple[Tensor, Tensor, int]:
        """Return inputs and labels of this process, and the number of images drawn for the whole batch."""
        generator = Generator(self._images.device).manual_seed(self._seed * _SEED_APART + step)
        drawn = self._task.draw(self._images, self._batch, generator)
        if self._shards == 1 and drawn.device.type == self._device.type:
            return *self._task.batch(drawn, generator), len(drawn)
        size = len(drawn) // self._shards
        shares = self._shards // processes.count()
        made = []
        for shard in range(processes.rank() * shares, (processes.rank() + 1) * shares):
            seed = int(np.random.SeedSequence([self._seed, step, shard]).generate_state(1)[0])
            part = drawn[shard * size : (shard + 1) * size].to(self._device)
            made.append(self._task.batch(part, Generator(self._device).manual_seed(seed)))
        inputs, labels = (_merged(parts, size) for parts in zip(*made, strict=True))
        return inputs, labels, size * self._shards


def _merged(parts: Sequence[Tensor], images: int) -> Tensor:
    """Merge inputs made from parts of ``images`` images each, in the order of inputs made from all at once.

    All first copies come before all second copies.
    """
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part.view(-1, images, *part.shape[1:]) for part in parts], 1).flatten(0, 1)


def _held(images: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and images.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
        return images
    return images.to(device)


def _check_shards(settings: OptimiserConfig, images: int) -> None:
    shards, batch, joined = settings.shards, settings.batch, processes.count()
    if shards % joined:
        raise InputError(
            f"shards that {joined} processes can share evenly",
            f"optimiser.shards={shards}",
            f"use --set optimiser.shards={joined}, or a multiple of it",
        )
    if batch % shards or images < shards:
        raise InputError(
            "a batch that is a multiple of its shards, each with at least one image",
            f"a batch of {batch} in {shards} shards, and {images} images",
            "change --set optimiser.batch=... or --set optimiser.shards=...",
        )
