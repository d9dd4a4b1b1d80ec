"""Stage 1: train the encoder on the self-supervised task; deterministic, resumable, interruptible."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Generator, Tensor, nn

from edge_occ.interrupt import interruptible
from edge_occ.progress import ProgressReport
from trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from trainer.config import BranchConfig, OptimiserConfig
from trainer.encoders.base import Encoder
from trainer.pretext.build import Task, make_task

_REPORT_EVERY = 10

_SEED_APART = 1_000_003
"""More than the steps of any run.  A generator on the CPU takes the lowest 32 bits of its seed and no others."""


@dataclass(frozen=True)
class Fit:
    """How an encoder was trained.

    Attributes:
        seconds: time spent on updates, over all resumed runs.
        history: rows of step, loss, and the accuracy of each class of the task, averaged since the row before.
    """

    seconds: float
    history: list[list[float]]


def fit_encoder(
    images: Tensor,
    encoder: Encoder,
    config: BranchConfig,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    fingerprint: str,
) -> Fit:
    """Train, or go on training.

    Every step draws its randomness from a generator seeded by (seed, step) alone, so that a resumed run takes the same
    steps as one that was never interrupted.

    Args:
        images: normal images, uint8 RGB ``[n, 3, size, size]``; held on the device.
        encoder: trained in place, and left in evaluation mode.
        config: pretext task and optimiser.
        seed: of every step.
        device: where to train.
        checkpoint: file to resume from if it exists, and to write to.
        fingerprint: of settings, seed and data; see :class:`trainer.checkpoint.Checkpoint`.

    Raises:
        InputError: the checkpoint is damaged or belongs to another run.
        KeyboardInterrupt: interrupted; the checkpoint is on disk.
    """
    task = make_task(config.pretext, encoder)
    model = nn.ModuleDict({"encoder": encoder, "classifier": task.classifier(encoder.scales)})
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    settings = config.optimiser
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=settings.learning_rate,
        momentum=0.9,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )
    state = Checkpoint(0, 0.0, fingerprint, [])
    if checkpoint.exists():
        state = load_checkpoint(checkpoint, fingerprint, model, optimiser)
    images = images.to(device)
    step, history, begun = state.step, list(state.history), time.monotonic() - state.seconds
    saved = time.monotonic()
    tally = Tally(task.classes)

    def save() -> None:
        save_checkpoint(checkpoint, Checkpoint(step, time.monotonic() - begun, fingerprint, history), model, optimiser)

    model.train()
    with interruptible() as interrupted, ProgressReport("training", settings.steps, step) as progress:
        while step < settings.steps:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, settings)
            generator = Generator(device).manual_seed(seed * _SEED_APART + step)
            tally.add(*_update(model, task, optimiser, _draw(images, settings.batch, generator), generator))
            step += 1
            if step % _REPORT_EVERY == 0 or step == settings.steps:
                history.append([step, *tally.take()])
            progress.advance(_note(history))
            if interrupted.is_set():
                save()
                raise KeyboardInterrupt
            if time.monotonic() - saved > settings.checkpoint_seconds:
                save()
                saved = time.monotonic()
    if step > state.step:
        save()
    encoder.eval()
    return Fit(time.monotonic() - begun, history)


def learning_rate(step: int, settings: OptimiserConfig) -> float:
    """Linear warm-up, then half a cosine to zero."""
    warmup = max(1, round(settings.warmup * settings.steps))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, settings.steps - warmup)
    return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2


def _draw(images: Tensor, batch: int, generator: Generator) -> Tensor:
    """A batch of different images where there are enough, as float in 0..1."""
    n = len(images)
    if n >= batch:
        chosen = torch.randperm(n, generator=generator, device=images.device)[:batch]
    else:
        chosen = torch.randint(n, (batch,), generator=generator, device=images.device)
    return images[chosen].float() / 255


def _update(
    model: nn.ModuleDict, task: Task, optimiser: torch.optim.SGD, images: Tensor, generator: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    inputs, labels = task.batch(images, generator)
    encoder = cast("Encoder", model["encoder"])
    inputs = encoder.normalise(inputs * 255).contiguous(memory_format=torch.channels_last)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.device.type == "cuda"):
        logits = model["classifier"](encoder(inputs))
    loss = task.loss(logits.float(), labels)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.detach(), logits.detach(), labels


class Tally:
    """Mean loss and accuracy of each class since it was last taken; kept on the device, so that no step waits for
    it.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._rows: list[Tensor] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count one step: scalar loss, ``[n, classes, rows, columns]`` logits, ``[n, rows, columns]`` labels."""
        predicted = logits.argmax(1)
        row = [loss]
        for label in range(self._classes):
            chosen = labels == label
            row += [(chosen & (predicted == label)).sum(), chosen.sum()]
        self._rows.append(torch.stack([value.float() for value in row]))

    def take(self) -> list[float]:
        """Loss, then the accuracy of each class (0 where none occurred); forgets them."""
        rows = torch.stack(self._rows).double().cpu()
        self._rows = []
        hits, counts = rows[:, 1::2].sum(0), rows[:, 2::2].sum(0)
        return [float(rows[:, 0].mean()), *(hits / counts.clamp_min(1)).tolist()]


def _note(history: list[list[float]]) -> str:
    if not history:
        return ""
    _, loss, *accuracies = history[-1]
    return f"loss {loss:.3f}, accuracy " + " ".join(f"{100 * value:.0f}%" for value in accuracies)
