"""Training speed in images per second: batched on the device, compared with a per-image PIL pipeline.

    python benchmarks/training_speed.py mvtec_ad/bottle/train/good [--threads 2] [--rounds 5] [--out speed.md]

The PIL pipeline is that of public CutPaste code: for each image flips, ImageEnhance jitter, a patch that is cropped,
jittered, rotated and pasted, conversion to a tensor, normalisation; then the batch is stacked.  Both use the same
network, on images decoded and resized beforehand.  Three comparisons with the settings of the quick preset:

1. augmentation alone, to a normalised batch (ours with a label for every window, PIL's with the mask of its pastes);
2. a whole training step in which every 64x64 window of an image counts: one dense pass, or the same encoder on the
   crops that PIL cuts, as patch models are trained;
3. a whole training step of the same dense network on whole images, which differs in the augmentation only.

Rounds are interleaved; medians are given.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image, ImageEnhance
from torch import Generator, Tensor, nn

from edge_occ.common.images import find_images
from engines.processors import usable_processors
from trainer.config import EncoderConfig, OptimiserConfig, PretextConfig
from trainer.encoders.dense import WINDOW, DensePatchEncoder
from trainer.pretext.cutpaste import CutPasteTask
from trainer.pretext.windows import label_windows

SIZE = 256
BATCH = OptimiserConfig().batch
CONFIG = PretextConfig()
CROPPED = 1
"""Images per step where each window is a crop: as many windows per image as in the dense step, in less memory."""


class _PerImage:
    """Augmentation of one image after another with PIL."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def __call__(self, image: Image.Image) -> tuple[Image.Image, Image.Image, Image.Image]:
        """Return the image without and with its pastes, and the class of the paste at each pixel."""
        for side in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM):
            if self.rng.random() < 0.5:
                image = image.transpose(side)
        image = self.jitter(image, CONFIG.image_jitter, hue=False)
        pasted, classes = image.copy(), Image.new("L", image.size)
        paste = self.rng.choice((self.patch, self.scar))
        for _ in range(self.rng.randint(*CONFIG.pastes)):
            paste(image, pasted, classes)
        return image, pasted, classes

    def jitter(self, image: Image.Image, strength: float, hue: bool) -> Image.Image:
        """Jitter the colours as torchvision's ColorJitter does."""
        steps = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color, *([None] if hue else [])]
        self.rng.shuffle(steps)
        for step in steps:
            amount = self.rng.uniform(-strength, strength)
            image = turn_hue(image, amount) if step is None else step(image).enhance(1 + amount)
        return image

    def cut(self, image: Image.Image, width: int, height: int) -> Image.Image:
        left, top = self.rng.randint(0, SIZE - width), self.rng.randint(0, SIZE - height)
        return self.jitter(image.crop((left, top, left + width, top + height)), CONFIG.patch_jitter, hue=True)

    def patch(self, image: Image.Image, pasted: Image.Image, classes: Image.Image) -> None:
        area = self.rng.uniform(*CONFIG.area) * SIZE * SIZE
        aspect = CONFIG.aspect ** self.rng.uniform(-1, 1)
        piece = self.cut(image, round((area / aspect) ** 0.5), round((area * aspect) ** 0.5))
        place = self.rng.randint(0, SIZE - piece.width), self.rng.randint(0, SIZE - piece.height)
        pasted.paste(piece, place)
        classes.paste(1, (*place, place[0] + piece.width, place[1] + piece.height))

    def scar(self, image: Image.Image, pasted: Image.Image, classes: Image.Image) -> None:
        sides = [round(self.rng.uniform(*CONFIG.scar_width)), round(self.rng.uniform(*CONFIG.scar_length))]
        self.rng.shuffle(sides)
        piece = self.cut(image, *sides).convert("RGBA")
        piece = piece.rotate(self.rng.uniform(-CONFIG.scar_angle, CONFIG.scar_angle), expand=True)
        place = self.rng.randint(0, SIZE - piece.width), self.rng.randint(0, SIZE - piece.height)
        mask = piece.getchannel("A")
        pasted.paste(piece, place, mask)
        classes.paste(2, (*place, place[0] + piece.width, place[1] + piece.height), mask)


def turn_hue(image: Image.Image, amount: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    shift = round(255 * amount)
    return Image.merge("HSV", (hue.point([(i + shift) % 256 for i in range(256)]), saturation, value)).convert("RGB")


def to_tensor(image: Image.Image) -> Tensor:
    array = torch.from_numpy(np.array(image))
    return array.permute(2, 0, 1).float() / 255 if array.ndim == 3 else array.unsqueeze(0)


class _Bench:
    """The network, the data in both forms, and a function for each row of the table."""

    def __init__(self, folder: Path) -> None:
        self.pictures = [Image.open(path).convert("RGB").resize((SIZE, SIZE)) for path in find_images(folder)]
        self.images = torch.stack([(255 * to_tensor(picture)).round().byte() for picture in self.pictures])
        torch.manual_seed(0)
        shape = EncoderConfig()
        self.encoder = DensePatchEncoder(shape.stride, shape.width, shape.dim)
        self.task = CutPasteTask(CONFIG, shape.stride)
        self.model = nn.Sequential(self.encoder, self.task.classifier(self.encoder.scales))
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
        self.generator = Generator().manual_seed(0)
        self.per_image = _PerImage(0)

    def update(self, inputs: Tensor, labels: Tensor) -> None:
        loss = self.task.loss(self.model(inputs.contiguous(memory_format=torch.channels_last)), labels)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def batched(self) -> tuple[Tensor, Tensor]:
        chosen = torch.randperm(len(self.images), generator=self.generator)[:BATCH]
        inputs, labels = self.task.batch(self.images[chosen].float() / 255, self.generator)
        return self.encoder.normalise(inputs * 255), labels

    def by_pil(self) -> tuple[Tensor, Tensor, Tensor]:
        before, after, classes = [], [], []
        for picture in self.per_image.rng.choices(self.pictures, k=BATCH):
            clean, pasted, kinds = self.per_image(picture)
            before.append(clean)
            after.append(self.encoder.normalise(255 * to_tensor(pasted).unsqueeze(0))[0])
            classes.append(to_tensor(kinds))
        return torch.stack(after), torch.stack(classes), torch.stack([to_tensor(image) for image in before])

    def step_batched(self) -> None:
        self.update(*self.batched())

    def step_pil(self) -> None:
        after, classes, before = self.by_pil()
        # The labels are computed as in the batched step, so that only the augmentation differs.
        plain = (after * torch.as_tensor(self.encoder.deviation) + torch.as_tensor(self.encoder.offset)) / 255
        self.update(after, label_windows(before, plain, classes, 2, CONFIG, self.encoder.stride))

    def step_crops(self) -> None:
        crops, labels = [], []
        for picture in self.per_image.rng.choices(self.pictures, k=CROPPED):
            clean, pasted, classes = self.per_image(picture)
            plain, changed = to_tensor(clean).unsqueeze(0), to_tensor(pasted).unsqueeze(0)
            labels.append(label_windows(plain, changed, to_tensor(classes).unsqueeze(0), 2, CONFIG, 8).flatten())
            for top in range(0, SIZE - WINDOW + 1, self.encoder.stride):
                for left in range(0, SIZE - WINDOW + 1, self.encoder.stride):
                    crop = to_tensor(pasted.crop((left, top, left + WINDOW, top + WINDOW)))
                    crops.append(self.encoder.normalise(255 * crop.unsqueeze(0))[0])
        self.update(torch.stack(crops), torch.cat(labels).view(-1, 1, 1))


def images_a_second(work: Callable[[], object], images: int) -> float:
    begun = time.perf_counter()
    work()
    return images / (time.perf_counter() - begun)


def hardware() -> str:
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "name" in line]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="normal images")
    parser.add_argument("--threads", type=int, default=usable_processors())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the table there as well")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bench = _Bench(arguments.folder)
    comparisons = {
        "augmentation alone": ((bench.batched, BATCH), (bench.by_pil, BATCH)),
        "step on every window: dense, or crops": ((bench.step_batched, BATCH), (bench.step_crops, CROPPED)),
        "step on whole images, same dense network": ((bench.step_batched, BATCH), (bench.step_pil, BATCH)),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in comparisons}
    for _ in range(1 + arguments.rounds):
        for name, (ours, theirs) in comparisons.items():
            rates[name].append((images_a_second(*ours), images_a_second(*theirs)))
    lines = ["| images a second (median) | batched | per-image PIL | ratio |", "|---|---|---|---|"]
    for name, pairs in rates.items():
        # The first round warms up.
        ours, theirs = (statistics.median(side) for side in zip(*pairs[1:], strict=True))
        lines.append(f"| {name} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.1f} |")
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    lines += [
        "",
        f"{BATCH} images of {SIZE}x{SIZE} a step ({CROPPED} where each of its windows is a crop), {arguments.rounds} "
        f"rounds, {arguments.threads} threads. {hardware()}; torch {torch.__version__}, Pillow {PIL.__version__}; "
        f"commit {commit or 'unknown'}.",
        "",
        f"`python {' '.join(sys.argv)}`",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
