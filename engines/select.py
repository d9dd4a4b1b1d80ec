"""Choosing an engine: the one that is named, or the first that this machine has and that passes the parity gate."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
"""What precision ``auto`` tries first; fp32 alone elsewhere.  int8 is only taken where it is asked for: it is not
always faster, and its heatmaps are coarser."""


@dataclass(frozen=True)
class Candidate:
    """A graph in one precision, and what it must compute.

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
    candidates: Mapping[str, Candidate],
    precision: str = "auto",
    options: EngineOptions | None = None,
    *,
    notify: Callable[[str], None] | None = None,
    everything: bool = False,
    progress: Progress | None = None,
) -> tuple[Engine, Parity]:
    """Load a graph into an engine, and let it pass only through the parity gate.

    An engine named ``auto`` is the first of :data:`NAMES` that can run here and is within tolerance; a precision
    ``auto`` goes down the engine's list until one is.

    Args:
        name: of :data:`NAMES`.
        candidates: graphs by precision, fp32 at least.
        precision: ``auto``, or one of the candidates'.
        options: how to make the engine.
        notify: gets a sentence for what was tried and not taken, unless that is no news: a machine that has nothing of
            TensorRT.  The log has those too, at level INFO.
        everything: notify those, too.
        progress: told of a build.

    Raises:
        EngineUnavailable: the engine cannot run here.
        ParityFailure: it computes something else than the bundle says.
        GraphRefused: no engine could compute it.
        UserError: an unknown name, or a precision that the bundle does not hold.
    """
    if name not in NAMES:
        raise UserError(f"an engine of {', '.join(NAMES)}", repr(name), "choose one with --engine")
    if precision not in ("auto", *candidates):
        raise UserError(
            f"a precision of auto, {', '.join(candidates)}, which are in the bundle",
            repr(precision),
            "choose one with --precision; the report of the training says why others are not there",
        )
    failures: list[EngineUnavailable | ParityFailure] = []
    for engine_name in _automatic() if name == "auto" else (name,):
        for chosen in _PREFERRED.get(engine_name, ("fp32",)) if precision == "auto" else (precision,):
            if chosen not in candidates:
                continue
            try:
                return _open(engine_name, candidates, chosen, options or EngineOptions(), progress)
            except (EngineUnavailable, ParityFailure) as failure:
                if str(failure) not in map(str, failures):
                    sentence = f"not {engine_name} {chosen}: {failure.found}"
                    if notify is not None and (everything or name != "auto" or _is_news(engine_name, failure)):
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


def _is_news(engine_name: str, failure: EngineUnavailable | ParityFailure) -> bool:
    """Whether something of that engine is here.  A machine without GPU and TensorRT is what most machines are."""
    if engine_name != "tensorrt" or isinstance(failure, ParityFailure):
        return True
    installed = "tensorrt" in sys.modules or find_spec("tensorrt") is not None
    return installed or l4t_release() is not None or probe_driver().ok


def _automatic() -> list[str]:
    """What ``auto`` tries.  ONNX Runtime without CUDA is what most machines have; it is no news."""
    return [name for name in NAMES[1:] if name != "onnxruntime-cuda" or _onnx_runtime_has_cuda()]


def _onnx_runtime_has_cuda() -> bool:
    try:
        from engines.onnxruntime import has_cuda  # noqa: PLC0415
    except ImportError:
        return False
    return has_cuda()


def _open(
    name: str, candidates: Mapping[str, Candidate], precision: str, options: EngineOptions, progress: Progress | None
) -> tuple[Engine, Parity]:
    engine = _engine(name, candidates, precision, options, progress)
    try:
        return engine, _pass_gate(engine, candidates[precision])
    except ParityFailure:
        if options.typing != "auto" or getattr(engine, "typing", "strong") == "strong":
            raise
    # Weakly typed, TensorRT may have chosen fp16 where the graph says fp32.
    engine = _engine(name, candidates, precision, replace(options, typing="strong"), progress)
    return engine, _pass_gate(engine, candidates[precision])


def _pass_gate(engine: Engine, candidate: Candidate) -> Parity:
    try:
        return require_parity(engine, candidate.golden, candidate.tolerance)
    except BaseException as error:
        engine.close()
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        # What a runtime says in words of its own, of frames that it must be able to score.
        raise ParityFailure(
            "an engine that scores the golden frames",
            f"{engine.name} {engine.precision} says: {(str(error) or repr(error)).splitlines()[0]}",
            "do not use it here; try another with --engine",
        ) from error


def _engine(
    name: str, candidates: Mapping[str, Candidate], precision: str, options: EngineOptions, progress: Progress | None
) -> Engine:
    """Runtimes are imported here, so that a machine without one of them can use the others."""
    graph = candidates[precision].graph
    if name == "tensorrt":
        from engines.tensorrt.engine import open_tensorrt  # noqa: PLC0415

        weak = candidates["fp32"].graph.onnx if precision == "fp16" else None
        return open_tensorrt(graph, options, weak=weak, progress=progress)
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
    return OnnxRuntimeEngine(graph, options.threads, "cuda" if cuda else "cpu")
