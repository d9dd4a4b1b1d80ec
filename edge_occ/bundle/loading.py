"""A bundle's engine on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.downscale import downscale, downscaled_shape
from engines.base import Engine, EngineOptions, Progress, Scores
from engines.frame import require_frame
from engines.parity import Golden, Parity
from engines.select import Candidate, open_engine


class DownscalingEngine:
    """An engine whose frames are downscaled before its graph.

    Args:
        engine: scores what is left of a frame; closed with this one.
        size: side in pixels that the graph resizes to.
    """

    def __init__(self, engine: Engine, size: int) -> None:
        self.name, self.precision = engine.name, engine.precision
        self._engine, self._size = engine, size

    @property
    def detail(self) -> str:
        """The runtime's version and where it computes."""
        return self._engine.detail

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, uint8 ``[h, w, 3]`` BGR; raises FrameRefused as :func:`engines.frame.require_frame`."""
        require_frame(frame)
        return self._engine.infer(downscale(frame, self._size, self._size))

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()


@dataclass(frozen=True)
class LoadedEngine:
    """An engine that has passed the bundle's parity gate.

    Attributes:
        engine: ready for frames.
        parity: how far it is from the reference.
    """

    engine: Engine
    parity: Parity

    @property
    def summary(self) -> str:
        """One line for people: which engine, where, how exact."""
        error = max(self.parity.score_error, self.parity.map_error)
        return f"engine {self.engine.name} {self.engine.precision} ({self.engine.detail}); parity within {error:.1e}"


def load_engine(
    bundle: Bundle,
    name: str = "auto",
    precision: str = "auto",
    options: EngineOptions | None = None,
    *,
    notify: Callable[[str], None] | None = None,
    everything: bool = False,
    progress: Progress | None = None,
) -> LoadedEngine:
    """Choose and load an engine for a bundle.

    Built engines are made fastest for the frames of the training.  Where the bundle's frames are downscaled, they take
    whatever is left of a frame; else frames of ``options.max_frame``, and as large as any golden one at least.
    For the arguments and what is raised see :func:`engines.select.open_engine`.
    """
    geometry = bundle.manifest.geometry
    size = geometry.size if geometry.downscaling else None
    golden = {p: bundle.golden(p) if size is None else _downscaled(bundle.golden(p), size) for p in bundle.precisions}
    options = _sizes(options or EngineOptions(), golden["fp32"], geometry.frame, size)
    candidates = {p: Candidate(bundle.graph(p), golden[p], bundle.tolerance(p)) for p in bundle.precisions}
    engine, parity = open_engine(
        name, candidates, precision, options, notify=notify, everything=everything, progress=progress
    )
    return LoadedEngine(engine if size is None else DownscalingEngine(engine, size), parity)


def _downscaled(golden: Golden, size: int) -> Golden:
    """The same reference, for golden frames as the graph gets them: the gate is passed by this machine's downscaling
    too.
    """
    return replace(golden, frames=[downscale(frame, size, size) for frame in golden.frames])


def _sizes(options: EngineOptions, golden: Golden, usual: tuple[int, int] | None, size: int | None) -> EngineOptions:
    """What sizes a built engine is for; ``golden`` as the graph gets it, ``usual`` as the camera gives it."""
    sizes = [(frame.shape[0], frame.shape[1]) for frame in golden.frames]
    if size is None:
        tallest, widest = zip(options.max_frame, usual or sizes[0], *sizes, strict=True)
        return replace(options, frame=usual or sizes[0], max_frame=(max(tallest), max(widest)))
    # Of whatever frame, less than twice the size is left.
    frame = downscaled_shape(usual, size, size) if usual else sizes[0]
    return replace(options, frame=frame, max_frame=(2 * size - 1, 2 * size - 1))
