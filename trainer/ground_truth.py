"""Masks of labelled images, and what a labelled set must be like before anything of it is scored."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.errors import InputError
from edge_occ.images import read_image
from edge_occ.progress import ProgressReport
from trainer.data import LabelledImage, check_unusable


def has_masks(images: Sequence[LabelledImage], data: Path) -> bool:
    """Whether there is ground truth: a mask for every defect, or none at all.

    Raises:
        InputError: a mask for some defects only, the first without is named.
    """
    defects = [image for image in images if image.defective]
    missing = [image for image in defects if image.mask is None]
    if missing and len(missing) < len(defects):
        first = missing[0]
        raise InputError(
            f"a mask for every defective image, or no folder {data / 'ground_truth'}",
            f"none for {len(missing)} of {len(defects)} images, the first being {first.path}",
            f"add {data / 'ground_truth' / first.kind / f'{first.path.stem}_mask.png'}",
        )
    return len(missing) < len(defects)


def check_labelled(
    images: Sequence[LabelledImage], frame: tuple[int, int] | None, folder: Path, white: int | None = None
) -> tuple[list[LabelledImage], list[str]]:
    """Read every image and mask once, so that what is wrong with the last is told before the first is scored.

    Args:
        images: the labelled set.
        frame: height and width of the training images, or ``None`` if they differed.
        folder: where the images are, for messages.
        white: of 16-bit images, see :func:`edge_occ.images.read_image`.

    Returns:
        The readable images, and one line for each other one: its path and what is wrong with it.

    Raises:
        InputError: over 1 % of the images are unreadable or defects without a marked pixel, one has another size than
            the training images, or a mask is wrong; see :func:`read_mask`.
    """
    with ThreadPoolExecutor() as pool, ProgressReport("checking images", len(images)) as progress:
        problems = []
        for problem in pool.map(partial(_check, frame=frame, white=white), images):
            problems.append(problem)
            progress.advance()
    skipped = [problem for problem in problems if problem]
    check_unusable(skipped, len(images), folder)
    return [image for image, problem in zip(images, problems, strict=True) if not problem], skipped


def read_mask(image: LabelledImage, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where the defect is: any pixel that is not black.

    Args:
        image: without a mask, nothing is marked.
        shape: height and width of the image come first.

    Returns:
        ``[height, width]``.

    Raises:
        InputError: the mask is unreadable, of another size than its image, of several colours beside black (nobody
            knows from which on they mean a defect), or marks pixels of a good image.
    """
    if image.mask is None:
        return np.zeros(shape[:2], dtype=np.bool_)
    pixels = read_image(image.mask)
    if pixels.shape[:2] != shape[:2]:
        raise InputError(
            f"a mask of {_size(shape)} pixels, the size of {image.path}",
            f"{_size(pixels.shape)} in {image.mask}",
            "save the mask at the size of its image",
        )
    marked = np.asarray(pixels.any(axis=2), dtype=np.bool_)
    colours = pixels[marked]
    if (colours != colours[:1]).any():
        raise InputError(
            "a mask of black and one other colour",
            f"{len(np.unique(colours, axis=0))} colours beside black in {image.mask}",
            "threshold it at half of its highest value, and save it without smoothing",
        )
    if marked.any() and not image.defective:
        raise InputError(
            f"a black mask or none for the good image {image.path}",
            f"{int(marked.sum())} marked pixels in {image.mask}",
            "remove the mask, or move image and mask to the folder of a defect",
        )
    return marked


def _check(image: LabelledImage, frame: tuple[int, int] | None, white: int | None) -> str | None:
    """What makes an image unusable; all that is worse is raised."""
    try:
        shape = read_image(image.path, white).shape
    except InputError as error:
        return f"{image.path}: {error.found}"
    if frame and shape[:2] != frame:
        raise InputError(
            f"test images of {_size(frame)} pixels, the size of the training images",
            f"{_size(shape)} in {image.path}",
            "resize them as the training images were, or train with images of both sizes",
        )
    marked = read_mask(image, shape)
    if image.defective and image.mask is not None and not marked.any():
        return f"{image.path}: nothing is marked in {image.mask}"
    return None


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
