"""Pretraining of one encoder on its self-supervised task: deterministic, resumable, interruptible."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from edge_occ.common.progress import ProgressReport
from edge_occ.common.signals import interruptible
from trainer.config import BranchConfig, OptimiserConfig
from trainer.encoders.base import Encoder
from trainer.pretext.build import make_task
from trainer.pretext.projection import ProjectionHead
from trainer.pretext.task import Figures
from trainer.pretrain import processes
from trainer.pretrain.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from trainer.pretrain.update import Pretraining, Updates

_REPORT_EVERY = 10

MIN_STEPS = 200
"""Minimum number of steps before a training can fail; also at least the warm-up and a twentieth of all steps.  Good
trainings may begin with a hundred steps of hardly any progress."""

_CHECKED = 5
"""Number of reports that are checked together."""


@dataclass(frozen=True)
class Fit:
    """The record of an encoder's training.

    Attributes:
        seconds: duration of the updates, over all resumed runs.
        history: rows of step, loss, and the task's figures, averaged since the row before.
        figures: description of the task's figures.
        projection: the trained projection head of a task on whole images, on the training's device and in evaluation
            mode; ``None`` for other tasks.
    """

    seconds: float
    history: list[list[float]]
    figures: Figures
    projection: ProjectionHead | None = None


def fit_encoder(
    images: Tensor,
    encoder: Encoder,
    config: BranchConfig,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    fingerprint: str,
) -> Fit:
    """Train an encoder, or resume its training; together with the other processes that have joined.

    Every step draws its randomness from the seed and its own number alone, so that a resumed run takes the same steps
    as an uninterrupted one.

    Args:
        images: normal images, uint8 RGB ``[n, 3, height, width]``.
        encoder: trained in place, and left in evaluation mode.
        config: pretext task, views and optimiser.
        seed: of every step.
        device: device to train on.
        checkpoint: file to resume from, if it exists, and to write to; the same for all processes.
        fingerprint: of settings, seed and data; see :class:`trainer.pretrain.checkpoint.Checkpoint`.

    Raises:
        InputError: the checkpoint is damaged or of another run; the training has collapsed; shards do not fit the batch
            or the processes.
        KeyboardInterrupt: interrupted; the checkpoint is written.
    """
    task = make_task(config, encoder)
    model = Pretraining(encoder, task.classifier(encoder.scales))
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
    step, history, begun = state.step, list(state.history), time.monotonic() - state.seconds
    saved = time.monotonic()
    tally = Tally()
    min_steps = max(MIN_STEPS, _warmup(settings) + _CHECKED * _REPORT_EVERY, settings.steps // 20)

    def save() -> None:
        save_checkpoint(checkpoint, Checkpoint(step, time.monotonic() - begun, fingerprint, history), model, optimiser)

    model.train()
    update = Updates(model, task, optimiser, images, settings, seed, device)
    with interruptible() as interrupted, ProgressReport("training", settings.steps, step) as progress:
        while step < settings.steps:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, settings)
            loss, counts, drawn = update(step)
            tally.add(loss, counts)
            step += 1
            reported = step % _REPORT_EVERY == 0 or step == settings.steps
            if reported:
                history.append([step, *tally.take()])
                if step >= min_steps:
                    task.check(history[-_CHECKED:], drawn)
            progress.advance(_note(history, task.figures))
            # Processes stop at the same step; asking the others takes time, so it is done at reports only.
            if (reported or processes.count() == 1) and processes.anywhere(interrupted.is_set(), device):
                save()
                raise KeyboardInterrupt
            if time.monotonic() - saved > settings.checkpoint_seconds:
                save()
                saved = time.monotonic()
    if step > state.step:
        save()
    model.eval()
    head = model.classifier
    projection = head if isinstance(head, ProjectionHead) else None
    return Fit(time.monotonic() - begun, history, task.figures, projection)


def learning_rate(step: int, settings: OptimiserConfig) -> float:
    """Return the learning rate of a step: linear warm-up, then half a cosine to zero."""
    warmup = _warmup(settings)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, settings.steps - warmup)
    return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2


def _warmup(settings: OptimiserConfig) -> int:
    return max(1, round(settings.warmup * settings.steps))


class Tally:
    """Running means of the loss and the figures, kept on the device so that no step waits for them."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def add(self, loss: Tensor, counts: Tensor) -> None:
        """Add one step: scalar loss, and the result of :meth:`trainer.pretext.task.Task.count`, ``[figures, 2]``."""
        self._rows.append(torch.cat([loss.float().view(1), counts.float().flatten()]))

    def take(self) -> list[float]:
        """Return the means of the loss and of each figure (0 without values) since the last call, and start again."""
        rows = torch.stack(self._rows).double().cpu()
        self._rows = []
        sums, numbers = rows[:, 1::2].sum(0), rows[:, 2::2].sum(0)
        return [float(rows[:, 0].mean()), *(sums / numbers.clamp_min(1)).tolist()]


def _note(history: list[list[float]], figures: Figures) -> str:
    if not history:
        return ""
    _, loss, *shares = history[-1]
    return f"loss {loss:.3f}, {figures.axis} " + " ".join(f"{100 * value:.0f}%" for value in shares)
