"""Images to learn from: finding, checking and reading them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_occ.decoding import Pixels, decode_image
from edge_occ.errors import InputError
from edge_occ.images import find_images, read_image
from edge_occ.progress import ProgressReport
from trainer.ahead import BATCH_PIXELS, area, read_ahead, same_size
from trainer.traits import ImageTraits, Traits

if TYPE_CHECKING:
    from torch import Tensor

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
        traits: what else they have in common.
    """

    paths: tuple[Path, ...]
    skipped: tuple[str, ...]
    conversions: tuple[str, ...]
    frame: tuple[int, int] | None
    sha256: str
    traits: Traits

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
    """The folder of normal images: ``data/train/good`` (MVTec layout), or ``data`` itself; a pattern stays as it is.

    Raises:
        InputError: there is no such folder, a ``train`` without ``good``, or a ``test`` or ``ground_truth`` without
            ``train``: the category was copied in part, and pictures beside these folders are not known to be good.
    """
    if not data.exists() and has_magic(str(data)):
        return data
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
    traits: list[ImageTraits] = []
    content = hashlib.sha256()
    with ProgressReport("checking images", len(paths)) as progress:
        for path, outcome in zip(paths, read_ahead(_inspect, paths, _pixels), strict=True):
            progress.advance()
            if isinstance(outcome, InputError):
                skipped.append(f"{path}: {outcome.found}")
                continue
            good.append(path)
            conversions |= outcome.conversions
            traits.append(outcome.traits)
            content.update(outcome.digest)
    check_unusable(skipped, len(paths), data)
    if len(good) < MIN_IMAGES:
        raise InputError(
            f"at least {MIN_IMAGES} images of good parts", f"{len(good)} in {data}", "add more; hundreds are better"
        )
    sizes = {image.size for image in traits}
    frame = sizes.pop() if len(sizes) == 1 else None
    return NormalImages(
        tuple(good), tuple(skipped), tuple(sorted(conversions)), frame, content.hexdigest(), Traits.of(traits)
    )


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


def read_frames(
    paths: tuple[Path, ...], title: str, batch: int = 16, *, white: int | None = None, pixels: int = BATCH_PIXELS
) -> Iterator[Tensor]:
    """Read images in order, as uint8 BGR ``[n, h, w, 3]``: neighbours of one size together.

    Args:
        paths: the images.
        title: of the progress report.
        batch: images at most at a time.
        white: of 16-bit images, see :func:`edge_occ.images.read_image`.
        pixels: at most at a time, so that memory does not grow with the images; a larger image comes alone.

    Raises:
        InputError: an image became unreadable.
    """
    import torch  # noqa: PLC0415 - an evaluation looks at images and needs none

    with ProgressReport(title, len(paths)) as progress:
        for images in same_size(read_ahead(partial(read_image, white=white), paths, area), batch, pixels):
            yield torch.from_numpy(np.stack(images))
            progress.advance(steps=len(images))


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
class _Inspected:
    conversions: frozenset[str]
    traits: ImageTraits
    digest: bytes


def _inspect(path: Path) -> _Inspected | InputError:
    try:
        picture = decode_image(path)
    except InputError as error:
        return error
    return _Inspected(picture.conversions, ImageTraits.of(picture), _digest(picture.pixels))


def _pixels(outcome: _Inspected | InputError) -> int:
    return 0 if isinstance(outcome, InputError) else math.prod(outcome.traits.size)


def _digest(image: Pixels) -> bytes:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
