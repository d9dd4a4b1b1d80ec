"""A bundle's engine on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_occ.bundle import Bundle
from engines.base import Engine, EngineOptions, Progress
from engines.parity import Parity
from engines.select import Candidate, open_engine


@dataclass(frozen=True)
class Loaded:
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
    tell: Callable[[str], None] | None = None,
    everything: bool = False,
    progress: Progress | None = None,
) -> Loaded:
    """Choose and load an engine for a bundle.

    Built engines are made fastest for the frames of the training, and for frames as large as any golden one at least.
    For the arguments and what is raised see :func:`engines.select.open_engine`.
    """
    options = options or EngineOptions()
    golden = bundle.golden()
    sizes = [frame.shape[:2] for frame in golden.frames]
    usual = bundle.manifest.geometry.frame or sizes[0]
    tallest, widest = zip(options.max_frame, usual, *sizes, strict=True)
    options = replace(options, frame=tuple(usual), max_frame=(max(tallest), max(widest)))
    candidates = {p: Candidate(bundle.graph(p), bundle.golden(p), bundle.tolerance(p)) for p in bundle.precisions}
    engine, parity = open_engine(
        name, candidates, precision, options, tell=tell, everything=everything, progress=progress
    )
    return Loaded(engine, parity)
