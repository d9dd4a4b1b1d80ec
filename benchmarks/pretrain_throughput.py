"""Throughput of pretraining in images per second, and its share of the machine's peak arithmetic.

    python benchmarks/pretrain_throughput.py [--preset paper-rotation] [--set encoder.base_width=8] [--compile]

Runs the updates of a preset on random images on the device, as ``edge-occ train`` does: draw, augment, forward,
backward, step.  Operations are those of the network, counted by torch's flop counter; the peak is the measured rate of
a matrix product of 4096x4096 (on a CPU 2048x2048) in the network's data type.  The share shows how much time goes to
augmentation, memory and Python.  Images are counted as drawn from the data; a rotation batch passes each through the
network four times.  Rounds are interleaved; medians are given.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor
from torch.utils.flop_counter import FlopCounterMode

from edge_occ.common.settings import load_settings, preset
from edge_occ.common.size import size_in_words
from trainer.config import TrainConfig
from trainer.encoders.build import make_encoder
from trainer.pretext.build import make_task
from trainer.pretrain.update import Pretraining, Updates

if TYPE_CHECKING:
    from collections.abc import Sequence

SQUARE = (1, 1)
"""Shape of the images."""

_MIN_SECONDS = 2.0
"""Minimum duration of a round."""


def updates(config: TrainConfig, images: int, device: torch.device) -> Callable[[int], object]:
    """Return the updates of a new encoder on random images."""
    torch.manual_seed(0)
    size = config.resized(SQUARE)
    encoder = make_encoder(config.encoder, size)
    task = make_task(config, encoder)
    model = Pretraining(encoder, task.classifier(encoder.scales))
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    pixels = torch.randint(256, (images, 3, *size), dtype=torch.uint8)
    return Updates(model, task, optimiser, pixels, config.optimiser, 0, device)


def rate(work: Callable[[int], object], device: torch.device) -> float:
    """Return the number of calls per second."""
    _wait(device)
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < _MIN_SECONDS:
        work(done)
        done += 1
        _wait(device)
    return done / (time.perf_counter() - begun)


def augmentation(config: TrainConfig, device: torch.device) -> Callable[[int], object]:
    """Return the augmentation of the same batches, without the network."""
    size = config.resized(SQUARE)
    task = make_task(config, make_encoder(config.encoder, size))
    images = torch.rand(config.optimiser.batch, 3, *size, device=device)
    return lambda step: task.batch(images, Generator(device).manual_seed(step))


def product(device: torch.device) -> tuple[Callable[[int], Tensor], float]:
    """Return a matrix product, and the number of its operations."""
    side, kind = (4096, torch.bfloat16) if device.type == "cuda" else (2048, torch.float32)
    left, right = (torch.rand(side, side, device=device, dtype=kind) for _ in range(2))
    return (lambda _: left @ right), 2.0 * side**3


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper-rotation")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="section.field=value")
    parser.add_argument("--images", type=int, default=1000, help="in the data")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="also measure with torch.compile")
    parser.add_argument("--out", type=Path, help="write the table there as well")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    config = load_settings(TrainConfig, [preset(options.preset)], options.settings)
    works = {
        "update": updates(config, options.images, device),
        "augmentation alone": augmentation(config, device),
    }
    with FlopCounterMode(display=False) as counter:
        works["update"](0)
    operations = counter.get_total_flops()
    if options.compile:
        settings = [*options.settings, "optimiser.compile=true"]
        compiled = load_settings(TrainConfig, [preset(options.preset)], settings)
        works["update, compiled"] = updates(compiled, options.images, device)
    multiply, of_product = product(device)
    works["product"] = multiply
    for work in works.values():
        work(0)
    rounds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options.rounds):
        for name, work in works.items():
            rounds[name].append(rate(work, device))
    medians = {name: statistics.median(values) for name, values in rounds.items()}
    peak = medians.pop("product") * of_product
    lines = [
        "| | images per second | operations per second | share of the matrix product's rate |",
        "|---|---|---|---|",
    ]
    for name, calls in medians.items():
        done = 0.0 if name == "augmentation alone" else calls * operations
        share = [f"{done / 1e9:.1f} G", f"{done / peak:.0%}"] if done else ["-", "-"]
        lines.append(f"| {' | '.join([name, f'{calls * config.optimiser.batch:.0f}', *share])} |")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    size = size_in_words(config.resized(SQUARE))
    title = f"Preset {' '.join([options.preset, *options.settings])}: batch {config.optimiser.batch}"
    lines.append(
        f"\n{title}, {size} pixels; {name}, {torch.get_num_threads()} threads; a matrix product reaches "
        f"{peak / 1e9:.0f} G; torch {torch.__version__}."
    )
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
