"""Choosing an engine by name."""

from __future__ import annotations

from engines.base import Engine, Graph
from engines.errors import EngineUnavailable, ParityFailure, UserError
from engines.parity import Golden, Parity, require_parity

NAMES = ("auto", "cpu", "tensorrt")


def open_engine(
    name: str, graph: Graph, golden: Golden, tolerance: float, threads: int | None = None
) -> tuple[Engine, Parity]:
    """Load a graph into an engine, and let it pass only through the parity gate.

    Args:
        name: ``auto``, ``cpu`` or ``tensorrt``.
        graph: model and head.
        golden: frames and reference scores.
        tolerance: see :func:`engines.parity.require_parity`.
        threads: CPU threads, ``None`` for all that this process may use.

    Raises:
        EngineUnavailable: the engine cannot run here.
        ParityFailure: it computes something else than the bundle says.
        UserError: an unknown name.
    """
    if name not in NAMES:
        raise UserError(f"an engine of {', '.join(NAMES)}", repr(name), "choose one with --engine")
    if name == "tensorrt":
        raise EngineUnavailable(
            "the TensorRT engine",
            "this version, which does not have it yet",
            "run with --engine cpu",
        )
    # Loaded here, so that a machine without ONNX Runtime can still read bundles.
    from engines.cpu import OnnxRuntimeEngine  # noqa: PLC0415

    engine = OnnxRuntimeEngine(graph, threads)
    try:
        return engine, require_parity(engine, golden, tolerance)
    except ParityFailure:
        engine.close()
        raise
