"""OpenVINO on the CPU: as exact as ONNX Runtime, and faster on some processors of Intel's and Arm's."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from engines.base import FRAME, MAP, SCORE, Graph, Scores, feature_outputs, require_head
from engines.errors import EngineUnavailable
from engines.frame import require_frame
from engines.processors import thread_count


class OpenVinoEngine:
    """Scores frames with OpenVINO's CPU plugin.

    Args:
        graph: model and head.
        threads: threads inside one operator, see :func:`engines.processors.thread_count`.

    Raises:
        EngineUnavailable: OpenVINO is not installed, or cannot run the graph with this head.
    """

    name = "openvino"
    parallel = 1

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        openvino = _package()
        version = openvino.get_version().split("-")[0]
        self.precision = graph.precision
        self.detail = f"openvino {version} on the CPU"
        try:
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(graph.onnx), "CPU", _properties(threads))
            self._features = feature_outputs(name for port in compiled.outputs for name in port.names)
            self._request = compiled.create_infer_request()
            self._tensor = openvino.Tensor
            # Everything but the frame has a fixed shape.
            static = (port for port in compiled.inputs if port.partial_shape.is_static)
            self._shapes = {port.any_name: tuple(port.shape) for port in static}
            self.set_head(graph.head)
            # The head meets the graph in the first run, and a frame of another size only changes shapes.
            self.infer(np.zeros((2, 2, 3), np.uint8))
        except RuntimeError as error:
            raise EngineUnavailable(
                "a graph and a head that OpenVINO can run",
                f"openvino {version} says: {_words(error)}",
                "upgrade it: pip install -U openvino, or run with --engine cpu",
            ) from error

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, uint8 ``[h, w, 3]`` BGR; raises FrameRefused as :func:`engines.frame.require_frame`."""
        self._run(frame)
        return Scores(float(self._request.get_tensor(SCORE).data[0]), self._result(MAP))

    def features(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Projected features of one frame, float32 ``[rows, columns, d]`` for each branch."""
        self._run(frame)
        return [self._result(name) for name in self._features]

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace the head; raises GraphRefused as :func:`engines.base.require_head`."""
        require_head(head, self._shapes)
        for key, value in head.items():
            self._request.set_tensor(key, self._tensor(value))

    def close(self) -> None:
        """Drop the compiled graph and the head."""
        del self._request

    def _run(self, frame: NDArray[np.uint8]) -> None:
        require_frame(frame)
        # OpenVINO reads the frame in place, but refuses views and read-only frames, which are copied.
        shared = np.require(frame, requirements=["C", "W"])
        self._request.set_tensor(FRAME, self._tensor(shared, shared_memory=True))
        self._request.infer()

    def _result(self, name: str) -> NDArray[np.float32]:
        # Copied, because the request writes its next result into the same memory.
        result: NDArray[np.float32] = self._request.get_tensor(name).data.copy()
        return result


def _package() -> ModuleType:
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise EngineUnavailable(
            "the package openvino", str(error), "install it: pip install openvino, or run with --engine cpu"
        ) from error


def _properties(threads: int | None) -> dict[str, str | int | bool]:
    return {
        # By itself the plugin takes bfloat16 or float16 where the processor has it, which the gate would refuse.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": thread_count(threads),
        # Capture, MQTT and the line's own programs share the cores; threads must be free to move out of their way.
        "ENABLE_CPU_PINNING": False,
    }


def _words(error: RuntimeError) -> str:
    """The last line: those before it name OpenVINO's source files."""
    return str(error).strip().splitlines()[-1]
