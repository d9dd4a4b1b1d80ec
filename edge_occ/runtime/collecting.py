"""New normal frames for a recalibration: those of a source that neither a guard nor the pose stage stops."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.provenance import Exposure
from edge_occ.bundle.recalibration import NewFrames
from edge_occ.bundle.sample_grid import Features
from edge_occ.common.decoding import has_colour
from edge_occ.common.errors import InputError
from edge_occ.common.exposure import Light
from edge_occ.common.progress import ProgressReport
from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.inspection.guards import Guards, GuardsConfig
from edge_occ.inspection.likeness import Likeness
from edge_occ.inspection.scoring import FaultTally, frame_features, score_frame
from edge_occ.sources.faults import Fault, Unscored
from edge_occ.sources.frame import Frame, Source
from engines.base import Engine

MAX_BYTES = 2 << 30
"""Largest size of the features of all frames."""

COPY = "copy"
"""Reason of a frame that has the pixels of an earlier one: it shows no further part."""

MAX_COPIES = 1000
"""Copies in a row after which a source has nothing new to give: files that are played again and again."""


class FrameCollector:
    """Collects frames from a source through an engine.

    Args:
        bundle: whose engine it is.
        engine: has passed the gate.
        guards: settings of the guards, which leave frames out.
        features: whether to collect features; otherwise scores.
        every: seconds of capture between two frames at least.
        notify: called with lines for people.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Engine,
        guards: GuardsConfig,
        *,
        features: bool,
        every: float = 0.0,
        notify: Callable[[str], None],
    ) -> None:
        training = bundle.manifest.training
        self._engine, self._with_features, self._every = engine, features, every
        self._guards = Guards(guards, training.exposure, training.colour, bundle.manifest.geometry.frame)
        self._likeness = Likeness(bundle.manifest, notify)
        self._refusals = RateLimitedLog(notify)
        self._tally, self._left_out = FaultTally(), Counter[str]()
        tiling = bundle.manifest.geometry.tiling
        self._tiles = 1 if tiling is None else tiling.count
        self._features: list[list[Features]] = []
        self._scores: list[float] = []
        self._light: list[Light] = []
        self._colours: set[bool] = set()
        self._seen: set[bytes] = set()
        self._bytes, self._copies, self._due = 0, 0, float("-inf")

    def run(self, source: Source, frames: int | None = None, total: int | None = None) -> NewFrames:
        """Collect until the source ends or is closed, or ``frames`` are collected; shows progress.

        Args:
            source: entered already.
            frames: at least 1, or ``None`` for all.
            total: number of frames that are expected, for the progress.

        Raises:
            InputError: no frame could be used, or they are too many for the memory.
            UserError: the source or the engine failed.
        """
        with ProgressReport("collecting frames", frames or total or 0) as progress:
            for frame in source:
                if self.take(frame):
                    progress.advance()
                    if len(self._light) == frames:
                        break
        return self.collected()

    def collected(self) -> NewFrames:
        """Return what was collected.

        Raises:
            UserError: no frame could be used.
        """
        self._tally.check(len(self._light))
        if not self._light:
            counts = ", ".join(f"{count} {reason}" for reason, count in self._left_out.items()) or "no frame at all"
            raise InputError("frames of good parts", f"none: {counts}", "check lamp, lens and camera, or the folder")
        return NewFrames(
            tuple(np.concatenate(of) for of in zip(*self._features, strict=True)),
            np.array(self._scores),
            self._tiles,
            Exposure.of(self._light),
            self._colours.pop() if len(self._colours) == 1 else None,
            dict(self._left_out),
        )

    def take(self, frame: Frame | Fault) -> bool:
        """Take a frame, if it is due and can be used; gives whether it was taken."""
        if isinstance(frame, Fault):
            self._leave_out(frame.cause, frame.index)
            return False
        # Every frame is checked, as only a row of equal ones is frozen.
        fault = self._guards.check(frame)
        if fault is not None:
            self._leave_out(fault, frame.index)
            return False
        if frame.captured_monotonic < self._due:
            return False
        digest = hashlib.sha256(np.ascontiguousarray(frame.image).data).digest()
        if digest in self._seen:
            self._left_out[COPY] += 1
            self._copies += 1
            if self._copies >= MAX_COPIES:
                raise InputError(
                    "frames that differ from each other",
                    f"{self._copies} in a row with the pixels of earlier ones, after {len(self._light)} others",
                    "leave loop=1 out, or take fewer frames",
                )
            return False
        try:
            self._measure(frame.image)
        except Unscored as error:
            self._leave_out(error, frame.index)
            return False
        self._due = frame.captured_monotonic + self._every
        self._copies = 0
        self._seen.add(digest)
        self._tally.scored()
        self._likeness.look(frame.image)
        self._light.append(Light.of(frame.image))
        self._colours.add(has_colour(frame.image))
        return True

    def _measure(self, image: NDArray[np.uint8]) -> None:
        if not self._with_features:
            self._scores.append(score_frame(self._engine, image).score)
            return
        features = [_small(of) for of in frame_features(self._engine, image)]
        self._bytes += sum(of.nbytes for of in features)
        if self._bytes > MAX_BYTES:
            raise InputError(
                f"features of at most {MAX_BYTES >> 30} GB",
                f"more after {len(self._light)} frames",
                f"take fewer: --frames {max(1, len(self._light))}",
            )
        self._features.append(features)

    def _leave_out(self, fault: Unscored, index: int) -> None:
        self._left_out[fault.reason.value] += 1
        self._refusals(fault.reason.value, f"left out  frame {index}  {fault.reason.value}: {fault.detail}")
        self._tally.add(fault)


def _small(features: NDArray[np.float32]) -> Features:
    """Return the features of one image or of its tiles as ``[tiles, rows, columns, d]``, in float16 where they fit."""
    whole = features if features.ndim == 4 else features[None]
    fits = np.abs(whole).max(initial=0) <= np.finfo(np.float16).max
    return whole.astype(np.float16) if fits else whole
