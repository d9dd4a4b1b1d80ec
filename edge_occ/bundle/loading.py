"""A bundle's engine on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.pre_stage import PreStage, PreStageEngine
from edge_occ.common.size import Size
from engines.base import Engine, EngineOptions, Progress
from engines.parity import Golden, Parity
from engines.select import GatedGraph, open_engine


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
    def of_graph(self) -> Engine:
        """The engine for frames that have passed the stage before the graph already; closed with the other."""
        return self.engine.of_graph if isinstance(self.engine, PreStageEngine) else self.engine

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

    Built engines are optimised for the frame size of the training.  Where frames pass a stage before the graph, they
    accept whatever it gives; else frames up to ``options.max_frame``, and at least up to the largest golden frame.
    For the arguments and the errors see :func:`engines.select.open_engine`.
    """
    geometry = bundle.manifest.geometry
    stage = geometry.pre_stage
    golden = {p: bundle.golden(p) if stage is None else stage.golden(bundle.golden(p)) for p in bundle.precisions}
    options = _sizes(options or EngineOptions(), golden["fp32"], geometry.frame, stage)
    graphs = {p: GatedGraph(bundle.graph(p), golden[p], bundle.tolerance(p)) for p in bundle.precisions}
    engine, parity = open_engine(
        name, graphs, precision, options, notify=notify, everything=everything, progress=progress
    )
    return LoadedEngine(engine if stage is None else PreStageEngine(engine, stage), parity)


def _sizes(options: EngineOptions, golden: Golden, usual: Size | None, stage: PreStage | None) -> EngineOptions:
    """Set the frame sizes of a built engine; golden frames are prepared, ``usual`` is the camera's frame."""
    sizes = [(frame.shape[0], frame.shape[1]) for frame in golden.frames]
    if stage is None:
        tallest, widest = zip(options.max_frame, usual or sizes[0], *sizes, strict=True)
        return replace(options, frame=usual or sizes[0], max_frame=(max(tallest), max(widest)))
    # A prepared frame is smaller than twice the size.
    frame = stage.prepared_size(usual) if usual else sizes[0]
    return replace(options, frame=frame, max_frame=(2 * stage.size[0] - 1, 2 * stage.size[1] - 1))
