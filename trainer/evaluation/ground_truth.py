"""Masks of labelled images, and the checks of a labelled set before it is scored."""

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
from edge_occ.common.images import counted, read_image, read_unconverted
from edge_occ.common.printable import printable
from edge_occ.common.progress import ProgressReport
from edge_occ.common.size import size_in_words
from trainer.data.layout import LabelledImage, check_unusable

MAX_MARKED_SHARE = 0.9
"""Marked share of an image above which a mask causes a warning, because it may be inverted."""


@dataclass(frozen=True)
class CheckedSet:
    """A labelled set that can be scored.

    Attributes:
        images: the usable images.
        skipped: path and problem of each other image.
        warnings: limitations of the figures, a sentence each.
    """

    images: tuple[LabelledImage, ...]
    skipped: tuple[str, ...]
    warnings: tuple[str, ...]


def has_pixels(image: LabelledImage) -> bool:
    """Return whether every pixel has a label: true for good images and for defects with a mask."""
    return bool(image.masks) or not image.defective


def check_labelled(
    images: Sequence[LabelledImage], frame: tuple[int, int] | None, folder: Path, white: int | None = None
) -> CheckedSet:
    """Read every image and mask once, so that all errors are found before the first image is scored.

    Args:
        images: the labelled set.
        frame: height and width of the training images, or ``None`` if they differed.
        folder: the images' folder, for messages.
        white: white level of 16-bit images, see :func:`edge_occ.common.images.read_image`.

    Raises:
        InputError: more than 1 % of the images are unreadable or have an empty mask, an image has another size than
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
    full = [image for image, finding in usable if finding.marked > MAX_MARKED_SHARE]
    kept = tuple(image for image, _ in usable)
    return CheckedSet(kept, skipped, tuple(printable(warning) for warning in _warnings(kept, full)))


def read_mask(image: LabelledImage, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Read the ground truth of an image: the pixels that are not black in any of its masks.

    Transparent pixels of a mask are not marked.  If the other pixels all have one colour, they are all marked.

    Args:
        image: an image without a mask has no marked pixels.
        shape: shape of the image, height and width first.

    Returns:
        bool ``[height, width]``.

    Raises:
        InputError: a mask is unreadable, has another size than its image, has several colours besides black (which
            of them mean a defect is unknown), or marks pixels of a good image.
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
            f"a mask of {size_in_words(shape)} pixels, the size of {image}",
            f"{size_in_words(pixels.shape)} in {path}",
            "save the mask at the size of its image",
        )
    values = pixels.reshape(*pixels.shape[:2], -1)
    visible = np.ones(values.shape[:2], dtype=np.bool_)
    if values.shape[2] == 4:
        values, alpha = values[:, :, :3], values[:, :, 3:]
        visible = alpha[:, :, 0] != 0
        if not visible.all():
            # Several degrees of transparency count as several colours.
            values = np.concatenate((values, alpha), axis=2)
            if _colours(values[visible]) == 1:
                return np.asarray(visible, dtype=np.bool_)
    marked = np.asarray(visible & values[:, :, :3].any(axis=2), dtype=np.bool_)
    colours = _colours(values[marked])
    if colours > 1:
        raise InputError(
            "a mask of black and one other colour",
            f"{colours} colours besides black in {path}",
            "threshold it at half of its highest value, and save it without smoothing",
        )
    return marked


def _colours(pixels: NDArray[np.integer[Any] | np.floating[Any]]) -> int:
    """Return the number of distinct rows of ``[n, channels]``."""
    return len(np.unique(pixels, axis=0)) if (pixels != pixels[:1]).any() else min(len(pixels), 1)


def _warnings(images: Sequence[LabelledImage], full: Sequence[LabelledImage]) -> Iterator[str]:
    defects = [image for image in images if image.defective]
    good, missing = len(images) - len(defects), [image for image in defects if not image.masks]
    if not good:
        yield "there are no good images: image AUROC, AUPIMO, F1 and false alarms are not defined"
    if missing and len(missing) < len(defects):
        first = missing[0]
        yield (
            f"{len(missing)} of {len(defects)} defects have no mask; the first is {first.path} (expected "
            f"{first.path.stem}_mask.png or {first.path.stem}.png in ground_truth/{first.kind}). The pixel metrics "
            "exclude them"
        )
    if full:
        yield (
            f"{counted(len(full), 'mask')} with more than {MAX_MARKED_SHARE:.0%} of the image marked; the first is "
            f"{full[0].masks[0]}. If black marks the defect, invert the masks"
        )


@dataclass(frozen=True)
class _Finding:
    """The problem that makes an image unusable, or ``None``, and its marked share."""

    problem: str | None = None
    marked: float = 0.0


def _check(image: LabelledImage, frame: tuple[int, int] | None, white: int | None) -> _Finding:
    """Check an image and its mask; errors that concern the whole set are raised."""
    try:
        shape = read_image(image.path, white).shape
    except InputError as error:
        return _Finding(f"{image.path}: {error.found}")
    if frame and shape[:2] != frame:
        raise InputError(
            f"test images of {size_in_words(frame)} pixels, the size of the training images",
            f"{size_in_words(shape)} in {image.path}",
            "resize them as the training images were, or train with images of both sizes",
        )
    marked = float(read_mask(image, shape).mean())
    if image.defective and image.masks and not marked:
        return _Finding(f"{image.path}: nothing is marked in {image.masks[0]}")
    return _Finding(None, marked)
