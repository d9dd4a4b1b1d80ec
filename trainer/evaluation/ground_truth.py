"""Masks of labelled images, and what a labelled set must be like before anything of it is scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from edge_occ.common.images import read_image, read_unconverted
from edge_occ.common.printable import printable
from edge_occ.common.progress import ProgressReport
from trainer.data.layout import LabelledImage, check_unusable

MOST_MARKED = 0.9
"""Share of an image beyond which a mask is told: it may be the wrong way round."""


@dataclass(frozen=True)
class Checked:
    """A labelled set that can be scored.

    Attributes:
        images: the readable ones.
        skipped: one line for each other one: its path and what is wrong with it.
        warnings: what makes the figures mean less than they seem to, a sentence each.
    """

    images: tuple[LabelledImage, ...]
    skipped: tuple[str, ...]
    warnings: tuple[str, ...]


def has_pixels(image: LabelledImage) -> bool:
    """Whether it is known of every pixel if it is defective: of good images, and of defects with a mask."""
    return bool(image.masks) or not image.defective


def check_labelled(
    images: Sequence[LabelledImage], frame: tuple[int, int] | None, folder: Path, white: int | None = None
) -> Checked:
    """Read every image and mask once, so that what is wrong with the last is told before the first is scored.

    Args:
        images: the labelled set.
        frame: height and width of the training images, or ``None`` if they differed.
        folder: where the images are, for messages.
        white: of 16-bit images, see :func:`edge_occ.common.images.read_image`.

    Raises:
        InputError: over 1 % of the images are unreadable or defects without a marked pixel, one has another size than
            the training images, or a mask is wrong; see :func:`read_mask`.
    """
    with ThreadPoolExecutor() as pool, ProgressReport("checking images", len(images)) as progress:
        findings = []
        for finding in pool.map(partial(_check, frame=frame, white=white), images):
            findings.append(finding)
            progress.advance()
    skipped = tuple(printable(finding.problem) for finding in findings if finding.problem)
    check_unusable(skipped, len(images), folder)
    usable = [(image, finding) for image, finding in zip(images, findings, strict=True) if not finding.problem]
    full = [image for image, finding in usable if finding.marked > MOST_MARKED]
    kept = tuple(image for image, _ in usable)
    return Checked(kept, skipped, tuple(printable(warning) for warning in _warnings(kept, full)))


def read_mask(image: LabelledImage, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where the defect is: any pixel that is not black, in any of the image's masks.

    A mask with transparent pixels marks among the others those that are not black, or all of them if they have one
    colour.

    Args:
        image: without a mask, nothing is marked.
        shape: height and width of the image come first.

    Returns:
        ``[height, width]``.

    Raises:
        InputError: a mask is unreadable, of another size than its image, of several colours beside black (nobody
            knows from which on they mean a defect), or marks pixels of a good image.
    """
    marked = np.zeros(shape[:2], dtype=np.bool_)
    for path in image.masks:
        marked |= _marked(path, image.path, shape)
        if marked.any() and not image.defective:
            raise InputError(
                f"a black mask or none for the good image {image.path}",
                f"{int(marked.sum())} marked pixels in {path}",
                "remove the mask, or move image and mask to the folder of a defect",
            )
    return marked


def _marked(path: Path, image: Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    pixels = read_unconverted(path)
    if pixels.dtype.kind not in "iu":
        raise InputError("a mask of whole numbers", f"{pixels.dtype} in {path}", "save it as 8-bit PNG")
    if pixels.shape[:2] != shape[:2]:
        raise InputError(
            f"a mask of {_size(shape)} pixels, the size of {image}",
            f"{_size(pixels.shape)} in {path}",
            "save the mask at the size of its image",
        )
    values = pixels.reshape(*pixels.shape[:2], -1)
    visible = np.ones(values.shape[:2], dtype=np.bool_)
    if values.shape[2] == 4:
        values, alpha = values[:, :, :3], values[:, :, 3:]
        visible = alpha[:, :, 0] != 0
        if not visible.all():
            # Several degrees of transparency are told as several colours are.
            values = np.concatenate((values, alpha), axis=2)
            if _colours(values[visible]) == 1:
                return np.asarray(visible, dtype=np.bool_)
    marked = np.asarray(visible & values[:, :, :3].any(axis=2), dtype=np.bool_)
    colours = _colours(values[marked])
    if colours > 1:
        raise InputError(
            "a mask of black and one other colour",
            f"{colours} colours beside black in {path}",
            "threshold it at half of its highest value, and save it without smoothing",
        )
    return marked


def _colours(pixels: NDArray[np.integer[Any] | np.floating[Any]]) -> int:
    """How many different rows ``[n, channels]`` has."""
    return len(np.unique(pixels, axis=0)) if (pixels != pixels[:1]).any() else min(len(pixels), 1)


def _warnings(images: Sequence[LabelledImage], full: Sequence[LabelledImage]) -> Iterator[str]:
    defects = [image for image in images if image.defective]
    good, missing = len(images) - len(defects), [image for image in defects if not image.masks]
    if not good:
        yield "there are no good parts: figures that compare with them do not exist, nor do false alarms"
    if missing and len(missing) < len(defects):
        first = missing[0]
        yield (
            f"{len(missing)} of {len(defects)} defects have no mask, the first being {first.path} (expected "
            f"{first.path.stem}_mask.png or {first.path.stem}.png in ground_truth/{first.kind}): the figures of pixels "
            "are without them"
        )
    if full:
        yield (
            f"{len(full)} masks mark more than {MOST_MARKED:.0%} of their image, the first being {full[0].masks[0]}: "
            "if black marks the defect there, invert them"
        )


@dataclass(frozen=True)
class _Finding:
    """What makes an image unusable, if anything does, and the share of it that is marked."""

    problem: str | None = None
    marked: float = 0.0


def _check(image: LabelledImage, frame: tuple[int, int] | None, white: int | None) -> _Finding:
    """What is worse than unusable is raised."""
    try:
        shape = read_image(image.path, white).shape
    except InputError as error:
        return _Finding(f"{image.path}: {error.found}")
    if frame and shape[:2] != frame:
        raise InputError(
            f"test images of {_size(frame)} pixels, the size of the training images",
            f"{_size(shape)} in {image.path}",
            "resize them as the training images were, or train with images of both sizes",
        )
    marked = float(read_mask(image, shape).mean())
    if image.defective and image.masks and not marked:
        return _Finding(f"{image.path}: nothing is marked in {image.masks[0]}")
    return _Finding(None, marked)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
