"""Normal images whose parts are turned to one pose, where the settings ask for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from edge_occ.common.images import counted, read_image
from edge_occ.common.printable import printable
from edge_occ.common.progress import ProgressReport
from trainer.config import PoseMode
from trainer.data.images import MIN_IMAGES, NormalImages
from trainer.data.pose import pose_of
from trainer.data.read_ahead import area, read_ahead

logger = logging.getLogger(__name__)


def posed_images(data: NormalImages, mode: PoseMode) -> NormalImages:
    """Fit a pose to normal images and leave out those without it, each with a line in ``skipped``.

    Args:
        data: checked images.
        mode: ``none`` returns the data as they are, and so does ``auto`` where turning is of no use.

    Raises:
        InputError: with ``turn``, the parts have no pose; with any mode, too few parts are left, or an image became
            unreadable.
    """
    if mode == "none":
        return data
    fit = pose_of(_images(data))
    if mode == "turn" and fit.pose is None:
        raise InputError(
            "parts before a plain ground whose outlines show how they lie",
            fit.reason,
            "use other pictures, or --set pose.mode=none",
        )
    if fit.pose is None or not (mode == "turn" or fit.worthwhile):
        logger.info("pose: parts are not turned: %s", fit.reason)
        return data
    logger.info("pose: %s; each is turned and cut out", fit.reason)
    missing = dict(fit.missing)
    kept = [index for index in range(len(data)) if index not in missing]
    numbers = {part: number for number, part in enumerate(dict.fromkeys(data.parts[index] for index in kept))}
    if len(numbers) < MIN_IMAGES:
        raise InputError(
            f"images of at least {MIN_IMAGES} different good parts with a pose",
            f"{len(numbers)}; {counted(len(missing), 'image')} without one",
            "add other parts, or use --set pose.mode=none",
        )
    lines = tuple(printable(f"{data.paths[index]}: {outcome}") for index, outcome in fit.missing)
    for line in lines:
        logger.warning("left out: %s", line)
    return replace(
        data,
        paths=tuple(data.paths[index] for index in kept),
        parts=tuple(numbers[data.parts[index]] for index in kept),
        digests=tuple(data.digests[index] for index in kept),
        skipped=data.skipped + lines,
        pose=fit.pose,
    )


def _images(data: NormalImages) -> Iterator[NDArray[np.uint8]]:
    with ProgressReport("finding parts", len(data)) as progress:
        for image in read_ahead(partial(read_image, white=data.traits.white), data.paths, area):
            yield image
            progress.advance()
