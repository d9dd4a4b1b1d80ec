"""Frames of events that a person marked as good, as further good images of a bundle.

They are no random sample of good parts, as they raised an alarm.  Where they still score high when held out, they raise
the threshold.  Where they score low, it may fall: of ``n`` other parts and ``a`` added ones, a share of ``rate * (n + a
+ 1) / (n + 1)`` of further good parts may then be above it.  So frames are limited to a tenth of the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.pose import NoPose
from edge_occ.common.decoding import decode_image
from edge_occ.common.errors import InputError
from edge_occ.common.images import counted, read_image
from edge_occ.common.progress import ProgressReport
from edge_occ.common.size import Size
from edge_occ.output.evidence.marked import MarkedEvent, marked_events
from engines.base import Engine
from trainer.augment.camera import change_frame
from trainer.config import CameraChangesConfig
from trainer.data.images import pixel_digest
from trainer.review.judgements import MAX_SHARE
from trainer.review.stored_features import GoodImages

_PREFIX = "evidence:"
"""Before the path of a frame in the evidence folder, which no path in a data folder begins with."""


@dataclass(frozen=True)
class AddedFrames:
    """Frames to be added.

    Attributes:
        names: of the ``a`` frames: ``evidence:camera/day/time-id/piece/frame.png``.
        digests: SHA-256 of the pixels of each.
        features: of the frames, then of their changed copies, for each branch: float32 ``[1 + copies, a, rows, columns,
            d]``.
        known: frames marked good that are among the good images already.
        without_pose: frames marked good whose part has no pose.
    """

    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    features: tuple[NDArray[np.float32], ...] = ()
    known: int = 0
    without_pose: int = 0


def is_added(name: str) -> bool:
    """Return whether an image with this name is a frame of an event."""
    return name.startswith(_PREFIX)


def event_of(name: str) -> str:
    """Return the event of an added frame: ``camera/day/time-id``."""
    return "/".join(name.removeprefix(_PREFIX).split("/")[:3])


def events_of_one_camera(folder: Path) -> list[MarkedEvent]:
    """Return the events that a person has marked.

    Args:
        folder: evidence folder, or that of a camera in it.

    Raises:
        InputError: no such folder, nothing marked in it, or events of several cameras.
    """
    events = marked_events(folder)
    if not events:
        raise InputError(
            f"events marked as good in {folder}",
            "none that is marked",
            "mark them on the page of edge-occ dashboard --evidence, or name the folder with their label.json",
        )
    cameras = sorted({event.camera for event in events})
    if len(cameras) > 1:
        raise InputError(
            f"marked events of one camera in {folder}",
            f"those of {', '.join(cameras)}",
            f"name the folder of the bundle's camera: --evidence {folder / cameras[0]}",
        )
    return events


def withdrawn(names: Sequence[str], events: Sequence[MarkedEvent]) -> tuple[str, ...]:
    """Return the images that were added from events which are marked as defects by now."""
    defects = {event.path for event in events if event.label == "defect"}
    return tuple(name for name in names if is_added(name) and event_of(name) in defects)


def added_frames(
    bundle: Bundle, images: GoodImages, events: Sequence[MarkedEvent], changes: CameraChangesConfig
) -> AddedFrames:
    """Compute the features of the frames of events marked as good, by the bundle's own graph.

    Args:
        bundle: whose features are stored.
        images: its good images.
        events: of its camera; those marked as defects are passed over.
        changes: of the training, for the changed copies.

    Raises:
        InputError: a frame of another size than the training images, or that cannot be read; more frames than may be
            added.
        ParityFailure: this machine does not compute what the trainer did.
    """
    good = [(event, path) for event in events if event.label == "good" for path in event.frames]
    digests, new, known = set(images.digests), [], 0
    for event, path in good:
        digest = _digest(path, bundle.manifest.geometry.frame)
        name = f"{_PREFIX}{event.path}/{path.parent.name}/{path.name}"
        if digest in digests or name in images.names:
            known += 1
            continue
        digests.add(digest)
        new.append((name, digest, path))
    _require_few(len(new), images)
    if not new:
        return AddedFrames(known=known)
    kept, found, without_pose = [], [], 0
    progress = ProgressReport("features of marked events", len(new))
    with closing(load_engine(bundle, "cpu", "fp32").engine) as engine, progress:
        for name, digest, path in new:
            try:
                found.append(_features(engine, read_image(path), changes, bundle.manifest.training.seed))
                kept.append((name, digest))
            except NoPose:
                without_pose += 1
            progress.advance()
    features = tuple(np.stack(of_branch, axis=1) for of_branch in zip(*found, strict=True))
    names, of_names = zip(*kept, strict=True) if kept else ((), ())
    return AddedFrames(names, of_names, features, known, without_pose)


def _digest(path: Path, expected: Size | None) -> str:
    """Return the digest of a frame's pixels.

    Raises:
        InputError: it cannot be read, or has not the expected height and width.
    """
    pixels = decode_image(path).pixels
    height, width = pixels.shape[:2]
    if expected is not None and (height, width) != expected:
        raise InputError(
            f"frames of {expected[1]} x {expected[0]} pixels, as the training images",
            f"{width} x {height} in {path}",
            "name the evidence of the bundle's own camera, or train again with its present frames",
        )
    return pixel_digest(pixels).hex()


def _require_few(new: int, images: GoodImages) -> None:
    earlier = sum(map(is_added, images.names))
    parts = len({part for name, part in zip(images.names, images.parts, strict=True) if not is_added(name)})
    if earlier + new > MAX_SHARE * parts:
        before = f" in addition to {earlier} of an earlier refit" if earlier else ""
        raise InputError(
            f"frames of events marked as good, at most a tenth of the {parts} good parts of the training",
            f"{counted(new, 'frame')}{before}",
            "put the frames into the folder of good images and train again, or mark fewer events",
        )


def _features(
    engine: Engine, frame: NDArray[np.uint8], changes: CameraChangesConfig, seed: int
) -> list[NDArray[np.float32]]:
    """Return the features of a frame and of its changed copies, ``[1 + copies, rows, columns, d]`` for each branch.

    Raises:
        NoPose: the frame's part has no pose; where only that of a copy has none, the frame stands in, as in training.
    """
    found = [engine.features(frame)]
    for copy in range(changes.copies):
        of_copy = found[0]
        with suppress(NoPose):
            of_copy = engine.features(change_frame(frame, changes, seed, copy))
        found.append(of_copy)
    return [np.stack(of_branch) for of_branch in zip(*found, strict=True)]
