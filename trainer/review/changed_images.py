"""Stored features without some of the good images, and with further ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from trainer.data.images import MIN_IMAGES
from trainer.review.added_frames import AddedFrames, event_of, is_added
from trainer.review.stored_features import GoodImages, StoredFeatures, compact


def without(stored: StoredFeatures, excluded: Sequence[str]) -> StoredFeatures:
    """Return the features of the images that are left, and of their changed copies; parts are numbered anew.

    Raises:
        InputError: they show fewer parts than a training takes.
    """
    images, left_out = stored.images, set(excluded)
    keep = np.array([name not in left_out for name in images.names])
    left = np.flatnonzero(keep)
    _, parts = np.unique(np.array(images.parts)[left], return_inverse=True)
    different = len(set(parts.tolist()))
    if different < MIN_IMAGES:
        raise InputError(
            f"images of at least {MIN_IMAGES} different good parts",
            f"{different} without the defective ones",
            "take pictures of more good parts and train again",
        )
    return StoredFeatures(
        GoodImages(
            folder=images.folder,
            data_sha256=images.data_sha256,
            names=tuple(images.names[i] for i in left),
            parts=tuple(parts.tolist()),
            digests=tuple(images.digests[i] for i in left),
        ),
        stored.scores[left],
        tuple(of[np.tile(keep, len(of) // len(keep))] for of in stored.features),
        None if stored.maps is None else stored.maps[left],
        stored.region,
    )


def with_frames(stored: StoredFeatures, added: AddedFrames) -> tuple[GoodImages, tuple[NDArray[np.floating[Any]], ...]]:
    """Return images and features, as :class:`StoredFeatures` has them, with added frames after the other images.

    All frames of one event show one part, also those that were added earlier.
    """
    images = stored.images
    if not added.names:
        return images, stored.features
    parts = {event_of(name): part for name, part in zip(images.names, images.parts, strict=True) if is_added(name)}
    for event in dict.fromkeys(map(event_of, added.names)):
        parts.setdefault(event, max(*images.parts, *parts.values()) + 1)
    joined = images.model_copy(
        update={
            "names": images.names + added.names,
            "parts": images.parts + tuple(parts[event_of(name)] for name in added.names),
            "digests": images.digests + added.digests,
        }
    )
    return joined, tuple(map(_joined, stored.features, added.features))


def _joined(features: NDArray[np.floating[Any]], added: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    """Insert added frames after the images, their first copies after those of the images, and so on."""
    shape = features.shape[1:]
    blocks = features.reshape(len(added), -1, *shape)
    return np.concatenate([blocks, compact(added)], axis=1).reshape(-1, *shape)
