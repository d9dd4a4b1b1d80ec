"""One update of stage 1, done by one process or shared by several: draw, augment, compare, descend."""

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
"""More than the steps of any run.  A generator on the CPU takes the lowest 32 bits of its seed and no others."""


class Pretraining(nn.Module):
    """What is trained: the encoder and, on its features, what the task compares with its labels."""

    def __init__(self, encoder: Encoder, classifier: nn.Module) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalised images ``[m, 3, h, w]`` to the task's outputs."""
        outputs: Tensor = self.classifier(self.encoder(inputs))
        return outputs


class Updates:
    """Every update draws its randomness from the seed and its own number alone.

    A batch may be made of shards, each augmented with a randomness of its own.  Processes share these out: so the
    updates are the same, up to rounding, whether one process does all shards or several some each.  Batch statistics
    are those of the whole batch, and what is compared, negatives of contrastive learning among it, is gathered from
    all processes.

    Args:
        model: trained in place; on the device.
        task: that it learns.
        optimiser: of the model's parameters.
        images: normal images, uint8 RGB ``[n, 3, size, size]``; held on the device if they take at most half of its
            free memory.
        settings: batch, shards, and whether to compile the network.
        seed: of every update.
        device: where to compute.

    Raises:
        InputError: there are fewer images than shards, or shards that cannot be shared out evenly; or, from an update,
            there is no compiler though the network is to be compiled.
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
            # Not every parameter takes part in every task's loss, but the same ones do in every step.
            self._forward = DistributedDataParallel(model, static_graph=True)

    def __call__(self, step: int) -> tuple[Tensor, Tensor, int]:
        """Do the update of this number.

        Returns:
            Loss; what :meth:`trainer.pretext.task.Task.count` gives; how many images were drawn, in all processes.
        """
        if not self._compiled:
            return self._update(step)
        from torch._dynamo.exc import BackendCompilerFailed  # noqa: PLC0415 - takes seconds, and few need it

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
        (loss * processes.count()).backward()  # type: ignore[no-untyped-call]  # the gradients' mean is taken
        self._optimiser.step()
        return loss.detach(), self._task.count(outputs.detach(), labels), drawn

    def _inputs(self, step: int) -> tuple[Tensor, Tensor, int]:
        """This process' part of the batch, and how many images the whole of it is made from."""
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
    """What was made from ``images`` each, all of a first copy before all of a second, as if made from all at once."""
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
            f"shards that {joined} processes can share out evenly",
            f"optimiser.shards={shards}",
            f"use --set optimiser.shards={joined}, or a multiple of it",
        )
    if batch % shards or images < shards:
        raise InputError(
            "a batch that is a multiple of its shards, each with an image at least",
            f"a batch of {batch} in {shards} shards, and {images} images",
            "change --set optimiser.batch=... or --set optimiser.shards=...",
        )
