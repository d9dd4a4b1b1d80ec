"""Normal images for training: finding, checking and reading them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.crop import Crop
from edge_occ.bundle.pose import NoPose, Pose
from edge_occ.bundle.pre_stage import PreStage
from edge_occ.bundle.tiles import Tiling
from edge_occ.common.decoding import Pixels, decode_image, to_8_bit, white_level
from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images, read_image
from edge_occ.common.printable import printable
from edge_occ.common.progress import ProgressReport
from edge_occ.common.size import Size
from trainer.data.copies import Thumbnail, look_alike, parts_of, thumbnail
from trainer.data.layout import check_unusable, normal_folder
from trainer.data.read_ahead import BATCH_PIXELS, area, read_ahead, same_size
from trainer.data.traits import ImageTraits, Traits

if TYPE_CHECKING:
    from torch import Tensor

Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

MIN_IMAGES = 8
"""Minimum number of different parts for a training."""


@dataclass(frozen=True)
class NormalImages:
    """A checked set of normal images.

    Attributes:
        paths: readable images in natural order, without copies.
        parts: number of the part that each image shows, from 0 without gaps; shots of one part share a number.
        copies: one line for each image left out because its pixels equal another's: its path and the other's.
        look_alike: whether all images are as similar as shots of one part.
        skipped: one line for each image left out for another reason: its path and the reason.
        conversions: kinds of images that were converted, of ``grey``, ``alpha`` and ``16-bit``.
        frame: height and width, or ``None`` if they differ.
        digests: SHA-256 of each image's pixels, in hexadecimal.
        sha256: of the digests, in order.
        traits: other common properties.
        pose: how their parts are turned; ``None`` if they stay as they lie.
        tiles: columns, rows and overlap of the tiles that they are cut into; ``None`` if they stay whole.
        crop: the rectangle of them that is used; ``None``: all.
    """

    paths: tuple[Path, ...]
    parts: tuple[int, ...]
    copies: tuple[str, ...]
    look_alike: bool
    skipped: tuple[str, ...]
    conversions: tuple[str, ...]
    frame: Size | None
    digests: tuple[str, ...]
    sha256: str
    traits: Traits
    pose: Pose | None = None
    tiles: tuple[int, int, float] | None = None
    crop: Crop | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def viewed(self) -> Size:
        """Usual height and width of what the graph sees: of what is cut out, or of the image."""
        if self.pose is not None:
            return self.pose.height, self.pose.width
        return self.traits.usual if self.crop is None else (self.crop.height, self.crop.width)

    @property
    def shots(self) -> tuple[int, ...]:
        """The part that each image shows, or each of its tiles: one more shot of that part each."""
        count = 1 if self.tiles is None else self.tiles[0] * self.tiles[1]
        return tuple(part for part in self.parts for _ in range(count))

    def stage(self, size: Size) -> PreStage:
        """Return what is done to the images before a graph that resizes to this height and width."""
        return PreStage(size, self.pose, None if self.tiles is None else Tiling(*self.tiles, size), self.crop)


def find_normal_images(data: Path) -> NormalImages:
    """Read every normal image once, check it, hash it, and find copies and shots of one part.

    Raises:
        InputError: no folder, no images, fewer than 8 different parts in usable ones, or over 1 % of them unusable.
    """
    paths = find_images(normal_folder(data))
    kept: dict[bytes, tuple[Path, Thumbnail]] = {}
    copies: list[str] = []
    skipped: list[str] = []
    conversions: set[str] = set()
    traits: list[ImageTraits] = []
    with ProgressReport("checking images", len(paths)) as progress:
        for path, outcome in zip(paths, read_ahead(_inspect, paths, _pixels), strict=True):
            progress.advance()
            if isinstance(outcome, InputError):
                skipped.append(printable(f"{path}: {outcome.found}"))
                continue
            conversions |= outcome.conversions
            first, _ = kept.setdefault(outcome.digest, (path, outcome.thumbnail))
            if first is path:
                traits.append(outcome.traits)
            else:
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
    sizes = {image.size for image in traits}
    return NormalImages(
        paths=tuple(path for path, _ in kept.values()),
        parts=parts,
        copies=tuple(copies),
        look_alike=look_alike(thumbnails),
        skipped=tuple(skipped),
        conversions=tuple(sorted(conversions)),
        frame=sizes.pop() if len(sizes) == 1 else None,
        digests=tuple(digest.hex() for digest in kept),
        sha256=hashlib.sha256(b"".join(kept)).hexdigest(),
        traits=Traits.of(traits),
    )


def read_frames(
    paths: tuple[Path, ...],
    title: str,
    batch: int = 16,
    *,
    stage: PreStage | None = None,
    white: int | None = None,
    pixels: int = BATCH_PIXELS,
    change: Change | None = None,
) -> Iterator[Tensor]:
    """Read images, or their tiles, in order, in batches of neighbours of equal size: uint8 BGR ``[n, h, w, 3]``.

    Args:
        paths: the images.
        title: of the progress report.
        batch: maximum number of images in a batch.
        stage: what the device does before the graph; ``None``: nothing, the images as they are.
        white: white level of 16-bit images, see :func:`edge_occ.common.images.read_image`.
        pixels: maximum number of pixels in a batch, to bound memory; a larger image is a batch of its own.
        change: makes another image of the same size of each one, before ``stage``; called in several threads.

    Raises:
        InputError: an image became unreadable.
        NoPose: an image has no pose; see :mod:`trainer.data.pose`.
    """
    import torch  # noqa: PLC0415 - an evaluation reads images without torch

    with ProgressReport(title, len(paths) * (1 if stage is None else stage.tiles)) as progress:
        read = partial(_read, white=white, stage=stage, change=change)
        tiles = chain.from_iterable(read_ahead(read, paths, lambda of_image: sum(map(area, of_image))))
        for images in same_size(tiles, batch, pixels):
            yield torch.from_numpy(np.stack(images))
            progress.advance(steps=len(images))


def _read(path: Path, white: int | None, stage: PreStage | None, change: Change | None) -> list[NDArray[np.uint8]]:
    image = read_image(path, white)
    if stage is None:
        return [image if change is None else change(image)]
    if change is not None:
        # A copy that has lost its pose would be a fault on the device; the image itself stands in for it.
        with suppress(NoPose):
            return stage.all_prepared(change(image))
    return stage.all_prepared(image)


@dataclass(frozen=True)
class _Inspected:
    conversions: frozenset[str]
    traits: ImageTraits
    digest: bytes
    thumbnail: Thumbnail


def _inspect(path: Path) -> _Inspected | InputError:
    try:
        picture = decode_image(path)
    except InputError as error:
        return error
    # The comparison of thumbnails fits the light, so each picture may have its own white level.
    small = thumbnail(to_8_bit(picture.pixels, white_level(int(picture.pixels.max()))))
    return _Inspected(picture.conversions, ImageTraits.of(picture), pixel_digest(picture.pixels), small)


def _pixels(outcome: _Inspected | InputError) -> int:
    return 0 if isinstance(outcome, InputError) else math.prod(outcome.traits.size)


def pixel_digest(image: Pixels) -> bytes:
    """Return the SHA-256 of decoded pixels and their shape, which is the same whatever file format holds them."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
