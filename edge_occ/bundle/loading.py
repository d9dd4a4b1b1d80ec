"""A bundle's engine on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.downscale import downscale, downscaled_size
from edge_occ.bundle.tiles import Tiling
from edge_occ.common.size import Size
from engines.base import Engine, EngineOptions, Progress, Scores
from engines.frame import require_frame
from engines.parity import Golden, Parity
from engines.select import GatedGraph, open_engine


class DownscalingEngine:
    """An engine whose frames are downscaled before its graph.

    Args:
        engine: scores the downscaled frames; closed with this one.
        size: height and width that the graph resizes to.
    """

    def __init__(self, engine: Engine, size: Size) -> None:
        self.name, self.precision = engine.name, engine.precision
        self._engine, self._size = engine, size

    @property
    def detail(self) -> str:
        """The runtime's version and where it computes."""
        return self._engine.detail

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, uint8 ``[h, w, 3]`` BGR; raises FrameRefused as :func:`engines.frame.require_frame`."""
        return self._engine.infer(self._downscaled(frame))

    def features(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Features of one frame; see :meth:`engines.base.Engine.features`."""
        return self._engine.features(self._downscaled(frame))

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace the head; see :meth:`engines.base.Engine.set_head`."""
        self._engine.set_head(head)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def _downscaled(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        require_frame(frame)
        return downscale(frame, self._size)


class TilingEngine(DownscalingEngine):
    """An engine whose frames are cut into tiles, each of which is downscaled before its graph.

    Args:
        engine: scores the downscaled tiles; closed with this one.
        tiling: cuts the frames.
    """

    def __init__(self, engine: Engine, tiling: Tiling) -> None:
        super().__init__(engine, tiling.size)
        self._tiling = tiling

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame: the highest score of its tiles, and their maps put together."""
        require_frame(frame)
        tiles = [super(TilingEngine, self).infer(tile) for tile in self._tiling.cut(frame)]
        return Scores(max(tile.score for tile in tiles), self._tiling.stitch([tile.map for tile in tiles]))

    def features(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Features of the tiles of one frame: ``[tiles, rows, columns, d]`` for each branch."""
        require_frame(frame)
        tiles = [super(TilingEngine, self).features(tile) for tile in self._tiling.cut(frame)]
        return [np.stack(of_branch) for of_branch in zip(*tiles, strict=True)]


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

    Built engines are optimised for the frame size of the training.  Where the bundle's frames are downscaled, they
    accept any downscaled frame; else frames up to ``options.max_frame``, and at least up to the largest golden frame.
    For the arguments and the errors see :func:`engines.select.open_engine`.
    """
    geometry = bundle.manifest.geometry
    size = geometry.size if geometry.downscaling else None
    golden = {p: bundle.golden(p) if size is None else _downscaled(bundle.golden(p), size) for p in bundle.precisions}
    tiling = geometry.tiling
    usual = tiling.tile(geometry.frame) if tiling is not None and geometry.frame is not None else geometry.frame
    options = _sizes(options or EngineOptions(), golden["fp32"], usual, size)
    graphs = {p: GatedGraph(bundle.graph(p), golden[p], bundle.tolerance(p)) for p in bundle.precisions}
    engine, parity = open_engine(
        name, graphs, precision, options, notify=notify, everything=everything, progress=progress
    )
    if tiling is not None:
        return LoadedEngine(TilingEngine(engine, tiling), parity)
    return LoadedEngine(engine if size is None else DownscalingEngine(engine, size), parity)


def _downscaled(golden: Golden, size: Size) -> Golden:
    """Downscale the golden frames, so that the parity gate covers this machine's downscaling too."""
    return replace(golden, frames=[downscale(frame, size) for frame in golden.frames])


def _sizes(options: EngineOptions, golden: Golden, usual: Size | None, size: Size | None) -> EngineOptions:
    """Set the frame sizes of a built engine; golden frames are downscaled, ``usual`` is the camera's frame or tile."""
    sizes = [(frame.shape[0], frame.shape[1]) for frame in golden.frames]
    if size is None:
        tallest, widest = zip(options.max_frame, usual or sizes[0], *sizes, strict=True)
        return replace(options, frame=usual or sizes[0], max_frame=(max(tallest), max(widest)))
    # A downscaled frame is smaller than twice the size.
    frame = downscaled_size(usual, size) if usual else sizes[0]
    return replace(options, frame=frame, max_frame=(2 * size[0] - 1, 2 * size[1] - 1))
