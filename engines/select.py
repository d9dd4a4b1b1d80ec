"""The choice of an engine: the named one, or the first that runs on this machine and passes the parity gate."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from engines.base import Engine, EngineOptions, Graph, Progress
from engines.cuda.jetson import l4t_release
from engines.cuda.probe import probe_driver
from engines.errors import EngineUnavailable, ParityFailure, UserError
from engines.parity import Golden, Parity, require_parity

_log = logging.getLogger("engines.select")

NAMES = ("auto", "tensorrt", "onnxruntime-cuda", "cpu", "openvino", "opencv")
"""Names of engines; ``auto`` tries the others in this order."""

_PREFERRED = {"tensorrt": ("fp16", "fp32")}
"""Precisions that ``auto`` tries, in order; fp32 alone for other engines.  int8 is used on request only: it is not
always faster, and its heatmaps are coarser."""


@dataclass(frozen=True)
class GatedGraph:
    """A graph in one precision, and the reference of its parity gate.

    Attributes:
        graph: model and head.
        golden: frames and reference scores.
        tolerance: see :func:`engines.parity.require_parity`.
    """

    graph: Graph
    golden: Golden
    tolerance: float


def open_engine(
    name: str,
    graphs: Mapping[str, GatedGraph],
    precision: str = "auto",
    options: EngineOptions | None = None,
    *,
    notify: Callable[[str], None] | None = None,
    everything: bool = False,
    progress: Progress | None = None,
) -> tuple[Engine, Parity]:
    """Load a graph into an engine that passes the parity gate.

    The engine ``auto`` is the first of :data:`NAMES` that can run here and is within tolerance; the precision ``auto``
    is the first of the engine's list that is.

    Args:
        name: of :data:`NAMES`.
        graphs: graphs by precision, fp32 at least.
        precision: ``auto``, or a key of ``graphs``.
        options: options of the engine.
        notify: called with a sentence for each engine that was tried and not used, except TensorRT on a machine that
            has no part of it; that one is logged at level INFO.
        everything: notify of that one, too.
        progress: called during a build.

    Raises:
        EngineUnavailable: the engine cannot run here.
        ParityFailure: its scores are not those of the bundle.
        GraphRefused: no engine could compute the graph.
        UserError: an unknown name, or a precision that the bundle does not hold.
    """
    if name not in NAMES:
        raise UserError(f"an engine of {', '.join(NAMES)}", repr(name), "choose one with --engine")
    if precision not in ("auto", *graphs):
        raise UserError(
            f"a precision of auto, {', '.join(graphs)}, which are in the bundle",
            repr(precision),
            "choose one with --precision; the report of the training gives the reasons for the others",
        )
    failures: list[EngineUnavailable | ParityFailure] = []
    for engine_name in _automatic() if name == "auto" else (name,):
        for chosen in _PREFERRED.get(engine_name, ("fp32",)) if precision == "auto" else (precision,):
            if chosen not in graphs:
                continue
            try:
                return _open(engine_name, graphs[chosen], options or EngineOptions(), progress)
            except (EngineUnavailable, ParityFailure) as failure:
                if str(failure) not in map(str, failures):
                    sentence = f"not {engine_name} {chosen}: {failure.found}"
                    if notify is not None and (everything or name != "auto" or _is_notable(engine_name, failure)):
                        notify(sentence)
                    else:
                        _log.info(sentence)
                failures.append(failure)
    wrong = [failure for failure in failures if isinstance(failure, ParityFailure)]
    if wrong or name != "auto":
        raise (wrong or failures)[-1]
    raise EngineUnavailable(
        "an engine that can run here", "; ".join({failure.found: None for failure in failures}), "type edge-occ doctor"
    )


def _is_notable(engine_name: str, failure: EngineUnavailable | ParityFailure) -> bool:
    """Return whether a part of that engine is here; most machines have neither a GPU nor TensorRT."""
    if engine_name != "tensorrt" or isinstance(failure, ParityFailure):
        return True
    installed = "tensorrt" in sys.modules or find_spec("tensorrt") is not None
    return installed or l4t_release() is not None or probe_driver().ok


def _automatic() -> list[str]:
    """Return the engines that ``auto`` tries, without CUDA where ONNX Runtime was built without it, as is usual."""
    return [name for name in NAMES[1:] if name != "onnxruntime-cuda" or _onnx_runtime_has_cuda()]


def _onnx_runtime_has_cuda() -> bool:
    try:
        from engines.onnxruntime import has_cuda  # noqa: PLC0415
    except ImportError:
        return False
    return has_cuda()


def _open(name: str, gated: GatedGraph, options: EngineOptions, progress: Progress | None) -> tuple[Engine, Parity]:
    engine = _engine(name, gated.graph, options, progress)
    try:
        return engine, require_parity(engine, gated.golden, gated.tolerance)
    except BaseException as error:
        engine.close()
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        # An error of the runtime's own, for frames that it must be able to score.
        raise ParityFailure(
            "an engine that scores the golden frames",
            f"{engine.name} {engine.precision} says: {(str(error) or repr(error)).splitlines()[0]}",
            "do not use it here; try another with --engine",
        ) from error


def _engine(name: str, graph: Graph, options: EngineOptions, progress: Progress | None) -> Engine:
    """Import the runtime and open the engine; a machine without one runtime can use the others."""
    if name == "tensorrt":
        from engines.tensorrt.engine import open_tensorrt  # noqa: PLC0415

        return open_tensorrt(graph, options, progress)
    if name == "openvino":
        from engines.openvino import OpenVinoEngine  # noqa: PLC0415

        return OpenVinoEngine(graph, options.threads)
    if name == "opencv":
        from engines.opencv import OpenCvEngine  # noqa: PLC0415

        return OpenCvEngine(graph, options.threads)
    return _onnx_runtime(graph, options, cuda=name == "onnxruntime-cuda")


def _onnx_runtime(graph: Graph, options: EngineOptions, *, cuda: bool) -> Engine:
    try:
        from engines.onnxruntime import OnnxRuntimeEngine  # noqa: PLC0415
    except ImportError as error:
        raise EngineUnavailable("ONNX Runtime", str(error), "pip install onnxruntime") from error
    return OnnxRuntimeEngine(graph, options.threads, "cuda" if cuda else "cpu", throughput=options.throughput)
