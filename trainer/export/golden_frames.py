"""Golden frames: what the parity gate scores, some of them defective."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from edge_occ.bundle.cut_out import halved
from edge_occ.bundle.pose import NoPose, find_in
from edge_occ.bundle.pre_stage import PreStage
from trainer.augment.paste import paste, sample_cutpaste

NORMAL, PASTED = 3, 3

SIDE = 1024
"""Golden frames are cropped to this side in pixels.  It bounds the bundle's size, and is large enough for the gate to
cover downscaling."""

_AREA, _ASPECT = (0.02, 0.04), 2.0
"""Area, as a share of what the graph sees, and aspect of a pasted rectangle."""

_ATTEMPTS = 200
"""Attempts to paste a rectangle that changes the part, and leaves it a pose."""

_GROUND = 1 / 8
"""Ground around a part in a cropped frame, as a share of the cut-out's longer side."""


def golden_frames(frames: Sequence[Tensor], stage: PreStage) -> list[Tensor]:
    """Return three normal frames and three with a conspicuous CutPaste defect.

    Args:
        frames: at least one normal frame with a pose, uint8 BGR ``[h, w, 3]``; see :func:`cropped`.
        stage: what is done before the graph.
    """
    chosen = [frames[i % len(frames)] for i in range(NORMAL + PASTED)]
    generator = torch.Generator().manual_seed(0)
    return chosen[:NORMAL] + [_pasted(frame, stage, generator) for frame in chosen[NORMAL:]]


def cropped(frame: Tensor, stage: PreStage) -> Tensor:
    """Crop a frame to :data:`SIDE` pixels; around its part, and larger where the part is, if that has a pose.

    A frame of which the stage takes a share is halved instead until it has no more pixels, so that it shows the same.

    Args:
        frame: uint8 BGR ``[h, w, 3]``.
        stage: of the training; the frame has its pose.
    """
    if stage.crop is not None:
        longest = max(frame.shape[:2])
        return torch.from_numpy(halved(frame.numpy(), max(0, (longest - 1) // SIDE).bit_length()))
    pose = stage.pose
    if pose is None:
        return frame[:SIDE, :SIDE]
    part = find_in(frame.numpy(), pose.side, pose.contrast)
    side = max(SIDE, round(max(pose.height, pose.width) * (1 + 2 * _GROUND)))
    if part is None or max(frame.shape) <= side:
        return frame
    top, left = (
        min(max(0, round(middle - side / 2)), max(0, extent - side))
        for middle, extent in ((part.y, frame.shape[0]), (part.x, frame.shape[1]))
    )
    crop = frame[top : top + side, left : left + side]
    return frame if _prepared(crop.numpy(), PreStage((side, side), pose)) is None else crop


def _pasted(frame: Tensor, stage: PreStage, generator: Generator) -> Tensor:
    """Paste a patch in inverse colours; the frame itself where no attempt changes what the graph sees of it."""
    image = frame.permute(2, 0, 1).unsqueeze(0)
    area, attempts = _AREA, 1
    normal = stage.prepared(frame.numpy())
    height, width = frame.shape[0], frame.shape[1]
    if stage.pose is not None or stage.crop is not None:
        share = math.prod(stage.seen((height, width))) / (height * width)
        area, attempts = (_AREA[0] * share, _AREA[1] * share), _ATTEMPTS
    for _ in range(attempts):
        rectangle = sample_cutpaste(1, (height, width), area, _ASPECT, generator)
        pasted = paste(image, 255 - image, rectangle)[0][0].permute(1, 2, 0)
        seen = _prepared(pasted.numpy(), stage)
        if seen is not None and not np.array_equal(seen, normal):
            return pasted
    return frame


def _prepared(frame: NDArray[np.uint8], stage: PreStage) -> NDArray[np.uint8] | None:
    try:
        return stage.prepared(frame)
    except NoPose:
        return None
