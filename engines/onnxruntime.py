"""ONNX Runtime: the default, on the CPU of every machine that edge-occ installs on; its CUDA build also on the GPU."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf

from engines.base import FEATURES, FRAME, IMAGES, MAP, SCORE, Graph, Scores, feature_outputs, require_head
from engines.errors import EngineUnavailable, GraphRefused, UserError
from engines.frame import require_frame
from engines.processors import thread_count

_ERROR = 3
"""ONNX Runtime's severity for errors; its warnings name each node that it could not optimise."""

_WITHOUT = ["NhwcTransformer"]
"""On Arm, ONNX Runtime computes fp16 as such, and this optimisation exchanges poolings for some that it has no kernel
for: the graph would not load."""

_MOST_PARALLEL = 4
"""Frames that are scored at a time at most: each needs the memory of its activations, 15 to 60 MB."""

Provider = Literal["cpu", "cuda"]

_CUDA = "CUDAExecutionProvider"
_PROVIDERS: dict[Provider, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    # TF32 keeps 10 bits of a float32's 23, which the parity gate would refuse; and a Jetson's memory is the host's too.
    "cuda": (_CUDA, {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}),
}


class OnnxRuntimeEngine:
    """Scores frames with ONNX Runtime.

    Args:
        graph: model and head.
        threads: threads of all frames that are scored at a time, see :func:`engines.processors.thread_count`.
        provider: where to compute; ``cuda`` needs the package ``onnxruntime-gpu``.
        throughput: see :class:`engines.base.EngineOptions`; on the CPU only.

    Raises:
        EngineUnavailable: this ONNX Runtime is too old for the graph, or cannot compute there.
        GraphRefused: no ONNX Runtime could compute the graph.
    """

    def __init__(
        self, graph: Graph, threads: int | None = None, provider: Provider = "cpu", *, throughput: bool = False
    ) -> None:
        self.name = "cpu" if provider == "cpu" else "onnxruntime-cuda"
        self.precision = graph.precision
        self.detail = f"onnxruntime {ort.__version__} on the {'CPU' if provider == 'cpu' else 'GPU, with CUDA'}"
        self._provider = provider
        count = thread_count(threads)
        self.parallel = min(count, _MOST_PARALLEL) if throughput and provider == "cpu" else 1
        self._session = open_session(graph.onnx, math.ceil(count / self.parallel), provider)
        self._shapes = _require_inspection(self._session)
        self._features = feature_outputs(tensor.name for tensor in self._session.get_outputs())
        require_head(graph.head, self._shapes)
        try:
            self._head = self._placed(graph.head)
            # A GPU too old for the build, or too full, shows in the first run.
            self.infer(np.zeros((2, 2, 3), np.uint8))
        except Exception as error:
            raise _cannot("run", error, provider) from error

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, uint8 ``[h, w, 3]`` BGR; raises FrameRefused as :func:`engines.frame.require_frame`."""
        score, score_map = self._run(frame, [SCORE, MAP])
        return Scores(float(score[0]), score_map)

    def features(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Projected features of one frame, float32 ``[rows, columns, d]`` for each branch."""
        return self._run(frame, self._features)

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace the head; raises GraphRefused as :func:`engines.base.require_head`."""
        require_head(head, self._shapes)
        self._head = self._placed(head)

    def close(self) -> None:
        """Drop the session and the head."""
        del self._session, self._head

    def _placed(self, head: Mapping[str, NDArray[np.float32]]) -> dict[str, ort.OrtValue]:
        """Copy the head to the device once, so that for a frame only the frame is copied."""
        # On the CPU an OrtValue shares the array's memory, which the caller may write to.
        own = {
            key: value.copy() if value.flags.writeable else np.ascontiguousarray(value) for key, value in head.items()
        }
        return {key: ort.OrtValue.ortvalue_from_numpy(value, self._provider, 0) for key, value in own.items()}

    def _run(self, frame: NDArray[np.uint8], outputs: list[str]) -> list[NDArray[np.float32]]:
        require_frame(frame)
        frame_value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(frame))
        values = self._session.run_with_ort_values(outputs, {FRAME: frame_value, **self._head})
        return [value.numpy() for value in values]


class EncoderRunner:
    """The encoder alone, to compare one dense pass with its windows in time and value."""

    def __init__(self, onnx: bytes, threads: int | None = None) -> None:
        self._session = open_session(onnx, threads)

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map uint8 BGR ``[n, h, w, 3]``, at least one window, to features ``[n, rows, columns, d]``."""
        result: NDArray[np.float32] = self._session.run([FEATURES], {IMAGES: images})[0]
        return result

    def close(self) -> None:
        """Drop the session."""
        del self._session


def _require_inspection(session: ort.InferenceSession) -> dict[str, tuple[int, ...]]:
    """Refuse a graph that does not score frames; return the shapes of its head's tensors."""
    inputs = {tensor.name: tensor for tensor in session.get_inputs()}
    outputs = {tensor.name for tensor in session.get_outputs()}
    if FRAME not in inputs or inputs[FRAME].type != "tensor(uint8)" or not outputs >= {SCORE, MAP}:
        raise GraphRefused(
            f"a graph from a uint8 {FRAME} to {SCORE} and {MAP}",
            f"inputs {sorted(inputs)}, outputs {sorted(outputs)}",
            "train the bundle anew: its parts do not belong together",
        )
    return {name: tuple(tensor.shape) for name, tensor in inputs.items() if name != FRAME}


def has_cuda() -> bool:
    """Return whether the installed ONNX Runtime was built for CUDA; only a session shows whether it finds a GPU."""
    return _CUDA in ort.get_available_providers()


def open_session(onnx: bytes, threads: int | None = None, provider: Provider = "cpu") -> ort.InferenceSession:
    """Open a session that leaves the processor to others while it waits.

    Spinning is off: on an edge device the capture, MQTT and the line's own programs share the same cores.

    Raises:
        EngineUnavailable: this ONNX Runtime is too old for the model, or cannot compute with this provider.
        GraphRefused: the model is wrong in itself.
    """
    if provider == "cuda" and not has_cuda():
        raise _no_cuda(f"onnxruntime {ort.__version__} without CUDA")
    options = ort.SessionOptions()
    options.intra_op_num_threads = thread_count(threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERROR
    # Plans of memory by shape save no time here, and take 9 MB.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # int8 is computed as the graph says: each tensor rounded where it says so, products and sums in float, the same on
    # every processor.  ONNX Runtime's own rewriting would round the biases too, through float16, which overflows; move
    # other steps; do so otherwise on Arm than on x86; and make operators of them that exist for float32 scales alone.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        # Without enable_fallback=0, a provider that fails later is replaced by the CPU, with a print.
        session = ort.InferenceSession(
            onnx, options, providers=[_PROVIDERS[provider]], enable_fallback=0, disabled_optimizers=_WITHOUT
        )
    except Exception as error:
        raise _cannot("load", error, provider) from error
    # A provider whose libraries or device are missing is left out without an error.
    if session.get_providers()[0] != _PROVIDERS[provider][0]:
        raise _no_cuda(f"that onnxruntime {ort.__version__} falls back to the CPU: no GPU, or CUDA or cuDNN is missing")
    return session


_NEWER = re.compile(r"opset|IR version", re.IGNORECASE)
"""Words that ONNX Runtime uses for a model of a later ONNX than its own, and for nothing else."""


def _cannot(do: str, error: Exception, provider: Provider) -> UserError:
    expected = f"a graph that ONNX Runtime can {do}"
    found = f"onnxruntime {ort.__version__} says: {str(error).splitlines()[0]}"
    # Its general failure is one of the model, but for a GPU that cannot go on.
    general = [Fail] if do == "load" or provider == "cpu" else []
    wrong = (InvalidArgument, InvalidGraph, InvalidProtobuf, *general)
    if isinstance(error, wrong) and not _NEWER.search(str(error)):
        return GraphRefused(expected, found, "copy the bundle again from where it was made, or train it anew")
    return EngineUnavailable(expected, found, "upgrade it: pip install -U onnxruntime")


def _no_cuda(found: str) -> EngineUnavailable:
    return EngineUnavailable(
        "an ONNX Runtime that computes on the GPU",
        found,
        "install onnxruntime-gpu in place of onnxruntime (on a Jetson, the wheel made for its JetPack), "
        "or run with --engine cpu",
    )
