"""The engine of a command: loaded with progress and notices on standard error."""

from __future__ import annotations

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.loading import LoadedEngine, load_engine
from edge_occ.common.console import say
from edge_occ.common.progress import PhaseReport
from engines.base import EngineOptions


def load(
    bundle: Bundle,
    name: str,
    precision: str = "auto",
    options: EngineOptions | None = None,
    *,
    everything: bool = False,
) -> LoadedEngine:
    """Return an engine that has passed the bundle's parity gate.

    Prints why an engine was passed over, and the progress of a build.  For the arguments and errors see
    :func:`engines.select.open_engine`.
    """
    with PhaseReport() as progress:
        return load_engine(bundle, name, precision, options, notify=say, everything=everything, progress=progress)


def engine_facts(loaded: LoadedEngine) -> dict[str, object]:
    """Return engine and parity as JSON fields; call it before the engine is closed, as its detail changes then."""
    engine = loaded.engine
    return {"engine": engine.name, "precision": engine.precision, "detail": engine.detail, **vars(loaded.parity)}
