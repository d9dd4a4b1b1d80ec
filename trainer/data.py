"""Images to learn from: finding, checking and reading them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.errors import InputError
from edge_occ.images import find_images, read_image, read_image_with_facts
from edge_occ.progress import ProgressReport
from trainer.copies import Thumbnail, look_alike, parts_of, thumbnail
from trainer.layout import check_unusable, normal_folder
from trainer.names import printable

MIN_IMAGES = 8
"""Fewest different parts to learn from."""


@dataclass(frozen=True)
class NormalImages:
    """A checked set of normal images.

    Attributes:
        paths: readable images, in natural order, each content once.
        parts: which part each image shows, from 0 without gaps; shots of one part share a number.
        copies: one line for each image left out because its pixels are those of another: its path and the other's.
        look_alike: whether no two images differ by more than shots of one part do.
        skipped: one line for each image left out for another reason: its path and what is wrong with it.
        conversions: what had to be converted, of ``grey``, ``alpha`` and ``16-bit``.
        frame: height and width, or ``None`` if they differ.
        sha256: of the images' content, in order.
    """

    paths: tuple[Path, ...]
    parts: tuple[int, ...]
    copies: tuple[str, ...]
    look_alike: bool
    skipped: tuple[str, ...]
    conversions: tuple[str, ...]
    frame: tuple[int, int] | None
    sha256: str

    def __len__(self) -> int:
        return len(self.paths)


def find_normal_images(data: Path) -> NormalImages:
    """Read every normal image once, to check it and take its fingerprint, and find copies and shots of one part.

    Raises:
        InputError: no folder, no images, usable ones of fewer than 8 different parts, or over 1 % of them unusable.
    """
    paths = find_images(normal_folder(data))
    kept: dict[bytes, tuple[Path, Thumbnail]] = {}
    copies: list[str] = []
    skipped: list[str] = []
    conversions: set[str] = set()
    sizes: set[tuple[int, int]] = set()
    with ThreadPoolExecutor() as pool, ProgressReport("checking images", len(paths)) as progress:
        for path, outcome in zip(paths, pool.map(_inspect, paths), strict=True):
            progress.advance()
            if isinstance(outcome, InputError):
                skipped.append(printable(f"{path}: {outcome.found}"))
                continue
            conversions |= outcome.facts
            sizes.add(outcome.size)
            first, _ = kept.setdefault(outcome.digest, (path, outcome.thumbnail))
            if first is not path:
                copies.append(printable(f"{path}: the pixels of {first}"))
    check_unusable(skipped, len(paths), data)
    thumbnails = [small for _, small in kept.values()]
    parts = parts_of(thumbnails) if thumbnails else ()
    different = len(set(parts))
    if different < MIN_IMAGES:
        shots = len(kept) - different + len(copies)
        more = f" and {shots} more shots or copies of them" if shots else ""
        raise InputError(
            f"images of at least {MIN_IMAGES} different good parts",
            f"{different}{more} in {data}",
            "add other parts; hundreds are better",
        )
    return NormalImages(
        paths=tuple(path for path, _ in kept.values()),
        parts=parts,
        copies=tuple(copies),
        look_alike=look_alike(thumbnails),
        skipped=tuple(skipped),
        conversions=tuple(sorted(conversions)),
        frame=sizes.pop() if len(sizes) == 1 else None,
        sha256=hashlib.sha256(b"".join(kept)).hexdigest(),
    )


def read_frames(paths: tuple[Path, ...], title: str, batch: int = 16) -> Iterator[Tensor]:
    """Read images in order, as uint8 BGR ``[n, h, w, 3]``: neighbours of one size together, at most ``batch``.

    Raises:
        InputError: an image became unreadable.
    """
    with ThreadPoolExecutor() as pool, ProgressReport(title, len(paths)) as progress:
        for start in range(0, len(paths), batch):
            chunk = list(pool.map(read_image, paths[start : start + batch]))
            for _, same in groupby(chunk, key=lambda image: image.shape):
                frames = torch.from_numpy(np.stack(list(same)))
                yield frames
                progress.advance(steps=len(frames))


@dataclass(frozen=True)
class _Facts:
    facts: frozenset[str]
    size: tuple[int, int]
    digest: bytes
    thumbnail: Thumbnail


def _inspect(path: Path) -> _Facts | InputError:
    try:
        image, facts = read_image_with_facts(path)
    except InputError as error:
        return error
    return _Facts(facts, (image.shape[0], image.shape[1]), _digest(image), thumbnail(image))


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
