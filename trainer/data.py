"""Images to learn from: finding, checking and reading them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.downscale import downscale
from edge_occ.errors import InputError
from edge_occ.images import find_images, read_image, read_image_with_facts
from edge_occ.progress import ProgressReport

MIN_IMAGES = 8
MAX_UNUSABLE = 0.01
"""Share of unusable images beyond which a folder is refused rather than trained on with holes."""

_GOOD = "good"


@dataclass(frozen=True)
class NormalImages:
    """A checked set of normal images.

    Attributes:
        paths: readable images, in natural order.
        skipped: one line for each image left out: its path and what is wrong with it.
        conversions: what had to be converted, of ``grey``, ``alpha`` and ``16-bit``.
        frame: height and width, or ``None`` if they differ.
        sha256: of the images' content, in order.
    """

    paths: tuple[Path, ...]
    skipped: tuple[str, ...]
    conversions: tuple[str, ...]
    frame: tuple[int, int] | None
    sha256: str

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class LabelledImage:
    """One test image.

    Attributes:
        kind: ``good`` or the name of the defect.
        mask: where the defect is, if a ground truth is at hand.
    """

    path: Path
    kind: str
    mask: Path | None

    @property
    def defective(self) -> bool:
        """Whether the image shows a defect."""
        return self.kind != _GOOD


def normal_folder(data: Path) -> Path:
    """The folder of normal images: ``data/train/good`` (MVTec layout), or ``data`` itself.

    Raises:
        InputError: there is no such folder, a ``train`` without ``good``, or a ``test`` or ``ground_truth`` without
            ``train``: the category was copied in part, and pictures beside these folders are not known to be good.
    """
    if not data.is_dir():
        raise InputError(f"a folder of normal images at {data}", "no such folder", "name an existing one with --data")
    if (data / "train" / _GOOD).is_dir():
        return data / "train" / _GOOD
    if (data / "train").is_dir():
        kinds = ", ".join(sorted(p.name for p in (data / "train").iterdir() if p.is_dir())) or "no folder"
        raise InputError(
            f"{data}/train/good", f"{kinds} in {data}/train", "put the images of good parts into train/good"
        )
    labelled = [name for name in ("test", "ground_truth") if (data / name).is_dir()]
    if labelled:
        raise InputError(
            f"{data}/train/{_GOOD}",
            f"{' and '.join(labelled)} without train in {data}",
            "put the images of good parts into train/good, or name a folder that holds nothing else",
        )
    return data


def find_normal_images(data: Path) -> NormalImages:
    """Read every normal image once, to check it and take its fingerprint.

    Raises:
        InputError: no folder, no images, fewer than 8 usable ones, or over 1 % of them unusable.
    """
    paths = find_images(normal_folder(data))
    good: list[Path] = []
    skipped: list[str] = []
    conversions: set[str] = set()
    sizes: set[tuple[int, int]] = set()
    content = hashlib.sha256()
    with ThreadPoolExecutor() as pool, ProgressReport("checking images", len(paths)) as progress:
        for path, outcome in zip(paths, pool.map(_inspect, paths), strict=True):
            progress.advance()
            if isinstance(outcome, InputError):
                skipped.append(f"{path}: {outcome.found}")
                continue
            good.append(path)
            conversions |= outcome.facts
            sizes.add(outcome.size)
            content.update(outcome.digest)
    check_unusable(skipped, len(paths), data)
    if len(good) < MIN_IMAGES:
        raise InputError(
            f"at least {MIN_IMAGES} images of good parts", f"{len(good)} in {data}", "add more; hundreds are better"
        )
    frame = sizes.pop() if len(sizes) == 1 else None
    return NormalImages(tuple(good), tuple(skipped), tuple(sorted(conversions)), frame, content.hexdigest())


def check_unusable(skipped: Sequence[str], total: int, folder: Path) -> None:
    """A few images may be left out; a set with more holes is refused.

    Raises:
        InputError: over 1 % of them, the first is named.
    """
    if len(skipped) > MAX_UNUSABLE * total:
        raise InputError(
            f"at most {MAX_UNUSABLE:.0%} unusable images in {folder}",
            f"{len(skipped)} of {total}, the first being {skipped[0]}",
            "repair or remove them",
        )


def read_frames(paths: tuple[Path, ...], title: str, batch: int = 16, *, size: int | None = None) -> Iterator[Tensor]:
    """Read images in order, as uint8 BGR ``[n, h, w, 3]``: neighbours of one size together, at most ``batch``.

    Args:
        paths: image files.
        title: of the progress bar.
        batch: images at a time.
        size: side that the graph resizes to: images are downscaled as on the device; ``None`` leaves them as they are.

    Raises:
        InputError: an image became unreadable.
    """
    with ThreadPoolExecutor() as pool, ProgressReport(title, len(paths)) as progress:
        for start in range(0, len(paths), batch):
            chunk = list(pool.map(partial(_read, size=size), paths[start : start + batch]))
            for _, same in groupby(chunk, key=lambda image: image.shape):
                frames = torch.from_numpy(np.stack(list(same)))
                yield frames
                progress.advance(steps=len(frames))


def _read(path: Path, size: int | None) -> NDArray[np.uint8]:
    image = read_image(path)
    return image if size is None else downscale(image, size, size)


def find_labelled_images(data: Path) -> list[LabelledImage]:
    """Test images of the MVTec layout: ``test/<kind>`` and ``ground_truth/<kind>/<name>_mask.png``.

    Raises:
        InputError: no ``test`` folder, no images in it.
    """
    test = data / "test"
    if not test.is_dir():
        raise InputError(
            f"labelled images in {test}/good and {test}/<defect>",
            "no such folder",
            "use 'edge-occ score' without labels",
        )
    images = []
    for folder in sorted(p for p in test.iterdir() if p.is_dir()):
        for path in find_images(folder):
            mask = data / "ground_truth" / folder.name / f"{path.stem}_mask.png"
            images.append(LabelledImage(path, folder.name, mask if mask.is_file() else None))
    if not images:
        raise InputError(f"images in {test}/good and {test}/<defect>", "no folder", "check the layout")
    return images


@dataclass(frozen=True)
class _Facts:
    facts: frozenset[str]
    size: tuple[int, int]
    digest: bytes


def _inspect(path: Path) -> _Facts | InputError:
    try:
        image, facts = read_image_with_facts(path)
    except InputError as error:
        return error
    return _Facts(facts, (image.shape[0], image.shape[1]), _digest(image))


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
