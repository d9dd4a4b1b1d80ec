"""Which engines would load, and which of them ``auto`` would take."""

from __future__ import annotations

from edge_occ.doctor.gpu import Gpu
from edge_occ.doctor.machine import Machine
from edge_occ.doctor.probing import Answer, ask_python
from edge_occ.doctor.python import as_tuple
from edge_occ.doctor.report import Check, EngineChoice, State
from engines.tensorrt import api as tensorrt_api

_OLDEST_ONNXRUNTIME = (1, 17)

_ONNXRUNTIME = """
import onnxruntime
say(version=onnxruntime.__version__, providers=onnxruntime.get_available_providers())
"""


def read_onnxruntime() -> Answer:
    """Import ONNX Runtime in a child; it brings the engine of every machine without TensorRT."""
    return ask_python(_ONNXRUNTIME)


def check_onnxruntime(machine: Machine, answer: Answer) -> Check:
    """Whether the CPU engine loads."""
    name, version = "onnxruntime", answer.facts.get("version")
    if version is None:
        state = State.MISSING if "No module named 'onnxruntime'" in answer.errors else State.WRONG
        options = "" if state is State.MISSING else "--force-reinstall --no-deps "
        return Check(name, state, answer.fault, machine.pip_install(f"{options}onnxruntime"))
    providers = ", ".join(provider.removesuffix("ExecutionProvider") for provider in answer.facts["providers"])
    found = f"{version}, providers {providers}"
    if as_tuple(version) < _OLDEST_ONNXRUNTIME:
        fix = machine.pip_install("'onnxruntime>=1.17'")
        return Check(name, State.WRONG, f"{found}; 1.17 or newer is needed", fix)
    return Check(name, State.OK, found)


def choose_engine(gpu: Gpu, onnxruntime: Check) -> EngineChoice:
    """What ``auto`` would try first; the parity gate of a bundle has the last word."""
    lacks = _lacks(gpu)
    if lacks is None and gpu.tensorrt is not None:
        return EngineChoice(
            "tensorrt", f"there are TensorRT {gpu.tensorrt.facts['version']}, a GPU and CUDA for Python"
        )
    if onnxruntime.failed:
        return EngineChoice(None, f"TensorRT lacks {lacks}, and ONNX Runtime does not load")
    return EngineChoice("cpu", f"TensorRT lacks {lacks}; ONNX Runtime runs on any processor")


def _lacks(gpu: Gpu) -> str | None:
    """What keeps TensorRT from running; ``None`` if nothing does."""
    version = gpu.tensorrt.facts.get("version") if gpu.tensorrt is not None else None
    if not gpu.works:
        return "a GPU with its driver"
    if version is None or as_tuple(version) < tensorrt_api.OLDEST:
        return "its package, 10.3 or newer"
    if gpu.bindings is None and (gpu.pycuda is None or gpu.pycuda.fault):
        return "pycuda or cuda-bindings"
    return None
