"""Images a second of stage 1, and how much of the machine's arithmetic they use.

    python benchmarks/pretrain_throughput.py [--preset paper-rotation] [--set encoder.base_width=8] [--compile]

Updates of a preset on random images that lie on the device, as ``edge-occ train`` does them: draw, augment, forward,
backward, step.  Arithmetic is counted by torch's flop counter, for the network alone; the machine's peak is what its
matrix product reaches here, of 4096x4096 (on a CPU 2048x2048) in the type that the network computes in.  So the share
says how far augmentation, memory and Python keep a training from being bound by arithmetic.  Images are those drawn
from the data; a rotation batch puts each through the network four times.  Rounds are interleaved; medians are given.
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
from trainer.config import TrainConfig
from trainer.encoders.build import make_encoder
from trainer.pretext.build import make_task
from trainer.pretrain.update import Pretraining, Updates

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 2.0
"""Least length of a round."""


def updates(config: TrainConfig, images: int, device: torch.device) -> Callable[[int], object]:
    """A fresh encoder's updates on random images."""
    torch.manual_seed(0)
    encoder = make_encoder(config.encoder, config.input.size)
    task = make_task(config, encoder)
    model = Pretraining(encoder, task.classifier(encoder.scales))
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    size = config.input.size
    pixels = torch.randint(256, (images, 3, size, size), dtype=torch.uint8)
    return Updates(model, task, optimiser, pixels, config.optimiser, 0, device)


def rate(work: Callable[[int], object], device: torch.device) -> float:
    """How often a second it can be done."""
    _wait(device)
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < _SECONDS:
        work(done)
        done += 1
        _wait(device)
    return done / (time.perf_counter() - begun)


def augmentation(config: TrainConfig, device: torch.device) -> Callable[[int], object]:
    """The same batches, without the network."""
    task = make_task(config, make_encoder(config.encoder, config.input.size))
    size = config.input.size
    images = torch.rand(config.optimiser.batch, 3, size, size, device=device)
    return lambda step: task.batch(images, Generator(device).manual_seed(step))


def product(device: torch.device) -> tuple[Callable[[int], Tensor], float]:
    """A matrix product, and its arithmetic operations."""
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
    parser.add_argument("--compile", action="store_true", help="by torch.compile beside plain")
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
    lines = ["| | images a second | operations a second | share of a matrix product's |", "|---|---|---|---|"]
    for name, often in medians.items():
        done = 0.0 if name == "augmentation alone" else often * operations
        share = [f"{done / 1e9:.1f} G", f"{done / peak:.0%}"] if done else ["-", "-"]
        lines.append(f"| {' | '.join([name, f'{often * config.optimiser.batch:.0f}', *share])} |")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    what = f"Preset {' '.join([options.preset, *options.settings])}: batch {config.optimiser.batch}"
    lines.append(
        f"\n{what}, {config.input.size} pixels; {name}, {torch.get_num_threads()} threads; a matrix product reaches "
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
