"""The embedded default: ONNX Runtime on the CPU, on every machine that edge-occ installs on."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from engines.base import FEATURES, FRAME, IMAGES, MAP, SCORE, Graph, Scores
from engines.errors import EngineUnavailable

_WARNING = 2
"""ONNX Runtime's severity for warnings; below it, it reports every optimisation."""


class OnnxRuntimeEngine:
    """Scores frames with ONNX Runtime's CPU provider.

    Args:
        graph: model and head.
        threads: threads inside one operator; ``None`` takes the processors this process may use.

    Raises:
        EngineUnavailable: this ONNX Runtime cannot load the graph.
    """

    name = "cpu"

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        self.precision = graph.precision
        self.detail = f"onnxruntime {ort.__version__} on the CPU"
        self._session = open_session(graph.onnx, threads)
        _require_inputs(self._session, graph)
        self._head = {key: ort.OrtValue.ortvalue_from_numpy(value) for key, value in graph.head.items()}

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, uint8 ``[h, w, 3]`` BGR of any size."""
        score, score_map = self._run(frame, [SCORE, MAP])
        return Scores(float(score[0]), score_map)

    def features(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Projected features of every window of one frame, float32 ``[rows, columns, d]``."""
        return self._run(frame, [FEATURES])[0]

    def close(self) -> None:
        """Drop the session and the head."""
        del self._session, self._head

    def _run(self, frame: NDArray[np.uint8], outputs: list[str]) -> list[NDArray[np.float32]]:
        frame_value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(frame))
        values = self._session.run_with_ort_values(outputs, {FRAME: frame_value, **self._head})
        return [value.numpy() for value in values]


class EncoderRunner:
    """The encoder alone, for showing what one dense pass saves over its windows, and that it computes the same."""

    def __init__(self, onnx: bytes, threads: int | None = None) -> None:
        self._session = open_session(onnx, threads)

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map uint8 BGR ``[n, h, w, 3]``, at least 64x64, to features ``[n, rows, columns, d]``."""
        result: NDArray[np.float32] = self._session.run([FEATURES], {IMAGES: images})[0]
        return result


def _require_inputs(session: ort.InferenceSession, graph: Graph) -> None:
    declared = {tensor.name: tensor for tensor in session.get_inputs()}
    given = {name: list(value.shape) for name, value in graph.head.items() if value.dtype == np.float32}
    wanted = {name: list(tensor.shape) for name, tensor in declared.items() if name != FRAME}
    frame = declared.get(FRAME)
    outputs = {tensor.name for tensor in session.get_outputs()}
    if frame is None or frame.type != "tensor(uint8)" or given != wanted or not outputs >= {SCORE, MAP}:
        raise EngineUnavailable(
            f"a graph from a uint8 {FRAME} to {SCORE} and {MAP}, with a head of {wanted}",
            f"a head of {given}, inputs {sorted(declared)}, outputs {sorted(outputs)}",
            "train the bundle anew: its parts do not belong together",
        )


def open_session(onnx: bytes, threads: int | None = None) -> ort.InferenceSession:
    """A CPU session that leaves the processor to others while it waits.

    Spinning is off: on an edge device the capture, MQTT and the line's own programs share the same cores.

    Raises:
        EngineUnavailable: ONNX Runtime cannot load the model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = _WARNING
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise EngineUnavailable(
            "a graph that ONNX Runtime can load",
            f"onnxruntime {ort.__version__} says: {str(error).splitlines()[0]}",
            "upgrade it: pip install -U onnxruntime",
        ) from error
