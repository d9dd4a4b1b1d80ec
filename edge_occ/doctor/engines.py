"""Checks of the engines: ONNX Runtime, and the GPU, driver, TensorRT and CUDA packages that TensorRT needs."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from edge_occ.doctor.machine import Machine, read_text
from edge_occ.doctor.probing import PATIENCE, Pending, ProbeResult, run_program, run_python
from edge_occ.doctor.python import as_tuple, version_of
from edge_occ.doctor.report import MISSING, NOTE, OK, WRONG, Check, EngineChoice
from engines.tensorrt import api as tensorrt_api

_OLDEST_ONNXRUNTIME = (1, 17)
_NVIDIA, _DISPLAY = "0x10de", "0x03"
_CUDA = Path("/usr/local/cuda")
_ENVIRONMENT = f"PATH={_CUDA}/bin:$PATH CUDA_ROOT={_CUDA}"
_CUDA_13 = 13000

_ONNXRUNTIME = """
import onnxruntime
report(version=onnxruntime.__version__, providers=onnxruntime.get_available_providers())
"""
_DRIVER = """
from dataclasses import asdict
from engines.cuda.probe import probe_driver
report(**asdict(probe_driver()))
"""
_TENSORRT = """
import tensorrt
report(version=tensorrt.__version__)
"""


@dataclass(frozen=True)
class Gpu:
    """The parts that TensorRT needs.

    Attributes:
        driver: fields of :class:`engines.cuda.probe.DriverProbe`.
        present: whether there is a GPU of NVIDIA's.
        tensorrt: result of its import, with its ``version``; ``None`` if it is not installed.
        pycuda: result of its import; ``None`` if it is not installed.
        pycuda_version: by its metadata.
        bindings: version of cuda-bindings, ``None`` if it is not installed.
        compiler: path of nvcc, ``None`` if there is none.
        on_path: whether the shell finds it.
        release: of the CUDA toolkit.
    """

    driver: ProbeResult
    present: bool = False
    tensorrt: ProbeResult | None = None
    pycuda: ProbeResult | None = None
    pycuda_version: str | None = None
    bindings: str | None = None
    compiler: str | None = None
    on_path: bool = False
    release: str = ""

    @property
    def works(self) -> bool:
        """True if there is a driver with a GPU."""
        return bool(self.driver.facts.get("devices", 0))

    @property
    def cuda(self) -> int:
        """The newest CUDA version of the driver, 12060 for 12.6; 0 if unknown."""
        return int(self.driver.facts.get("version", 0))


def read_onnxruntime() -> ProbeResult:
    """Import ONNX Runtime in a child."""
    return run_python(_ONNXRUNTIME)


def check_onnxruntime(machine: Machine, result: ProbeResult) -> Check:
    """Check whether the CPU engine loads."""
    name, version = "onnxruntime", result.facts.get("version")
    if version is None:
        if "No module named 'onnxruntime'" in result.errors:
            return Check(name, MISSING, result.fault, machine.pip_install(name))
        return Check(name, WRONG, result.fault, machine.pip_install(f"--force-reinstall --no-deps {name}"))
    providers = ", ".join(provider.removesuffix("ExecutionProvider") for provider in result.facts["providers"])
    found = f"{version}, providers {providers}"
    if as_tuple(version) < _OLDEST_ONNXRUNTIME:
        return Check(name, WRONG, f"{found}; 1.17 or newer is needed", machine.pip_install("'onnxruntime>=1.17'"))
    return Check(name, OK, found)


def read_gpu() -> Gpu:
    """Collect all parts at once; packages that may crash are imported in children."""

    def importing(code: str) -> Pending[ProbeResult]:
        return Pending(partial(run_python, code), lambda fault: ProbeResult(fault=fault))

    deadline = time.monotonic() + 2 * PATIENCE
    driver = importing(_DRIVER)
    tensorrt = importing(_TENSORRT) if find_spec("tensorrt") else None
    pycuda = importing("import pycuda.driver") if find_spec("pycuda") else None
    on_path = shutil.which("nvcc")
    compiler = on_path or shutil.which(str(_CUDA / "bin" / "nvcc"))
    return Gpu(
        present=_present(),
        driver=driver.take(deadline),
        tensorrt=tensorrt.take(deadline) if tensorrt else None,
        pycuda=pycuda.take(deadline) if pycuda else None,
        pycuda_version=version_of("pycuda"),
        bindings=version_of("cuda-bindings"),
        compiler=compiler,
        on_path=on_path is not None,
        release=parse_nvcc(run_program([compiler, "--version"]).output) if compiler else "",
    )


def check_gpu(machine: Machine, gpu: Gpu) -> list[Check]:
    """Check driver, TensorRT, CUDA for Python and its compiler."""
    checks = [check_driver(machine, gpu), check_tensorrt(machine, gpu), check_cuda_python(machine, gpu)]
    return [*checks, check_toolkit(gpu)]


def check_driver(machine: Machine, gpu: Gpu) -> Check:
    """Check whether CUDA can be initialised."""
    name, facts = "nvidia driver", gpu.driver.facts
    if gpu.works:
        return Check(name, OK, f"CUDA {gpu.cuda // 1000}.{gpu.cuda % 1000 // 10}, GPUs: {facts['devices']}")
    if not gpu.present and not machine.jetson:
        return Check(name, NOTE, "no NVIDIA GPU in this machine")
    found = str(facts.get("reason") or f"probing the driver: {gpu.driver.fault}")
    if machine.container:
        option = "--runtime nvidia" if machine.jetson else "--gpus all"
        return Check(name, MISSING, f"{found}; the container must be started by docker run {option}")
    if found.startswith("no CUDA driver"):
        if not machine.jetson and machine.system.startswith("Ubuntu"):
            return Check(name, MISSING, found, machine.sudo("ubuntu-drivers install"))
        return Check(
            name, MISSING, found, machine.apt_install("nvidia-l4t-cuda" if machine.jetson else "nvidia-driver")
        )
    # The library is there, but its kernel module is missing or of another version, or the user lacks the rights.
    fix = machine.sudo("usermod -aG video,render $USER" if machine.jetson else "reboot")
    return Check(name, WRONG, found, fix)


def check_tensorrt(machine: Machine, gpu: Gpu) -> Check:
    """Check whether TensorRT is installed, loads, and is new enough."""
    name, unseen = "tensorrt", machine.jetson and not machine.sees_system_packages
    fix: str | None
    if unseen:
        fix = machine.see_system_packages()
    elif machine.jetson:  # JetPack's fits the board; PyPI has none for JetPack 6, nor later for every board
        fix = machine.apt_install("python3-libnvinfer")
    else:
        fix = machine.pip_install("tensorrt-cu12" if 0 < gpu.cuda < _CUDA_13 else "tensorrt")
    if gpu.tensorrt is None:
        if machine.too_old:
            return Check(name, NOTE, "not seen by this Python; that of this JetPack would be too old anyway")
        if gpu.works or machine.jetson:
            return Check(name, MISSING, "not seen by this Python" if unseen else "not installed", fix)
        return Check(name, NOTE, "not installed, and of no use without an NVIDIA GPU")
    version = gpu.tensorrt.facts.get("version")
    if version is None:
        return Check(name, WRONG, gpu.tensorrt.fault, fix)
    if as_tuple(version) < tensorrt_api.OLDEST:
        return Check(name, WRONG, f"{version}; 10.3 or newer is needed", None if machine.too_old else fix)
    return Check(name, OK, version if gpu.works else f"{version}, of no use without the driver")


def check_cuda_python(machine: Machine, gpu: Gpu) -> Check:
    """Check for pycuda or cuda-bindings; one of them is enough."""
    name, found = "cuda for python", f"pycuda {gpu.pycuda_version or 'of unknown version'}"
    if gpu.pycuda is not None and not gpu.pycuda.fault:
        return Check(name, OK, found)
    if gpu.pycuda is not None and gpu.works:
        fix = _install_pycuda(machine, gpu, "--force-reinstall --no-cache-dir --no-deps ")
        return Check(name, WRONG, f"{found}: {gpu.pycuda.fault}", fix)
    if gpu.pycuda is not None:
        return Check(name, NOTE, f"{found}, not tried without the driver")
    if gpu.bindings is not None:
        return Check(name, OK, f"cuda-bindings {gpu.bindings}")
    if gpu.works:
        return Check(name, MISSING, "neither pycuda nor cuda-bindings", _install_pycuda(machine, gpu))
    return Check(name, NOTE, "neither pycuda nor cuda-bindings, and of no use without the driver")


def check_toolkit(gpu: Gpu) -> Check:
    """Check whether pip would find the compiler that pycuda's build needs."""
    name = "cuda toolkit"
    if gpu.compiler is None:
        return Check(name, NOTE, "no nvcc; only building pycuda needs it")
    found = f"nvcc {gpu.release or 'of unknown version'} at {gpu.compiler}"
    if gpu.on_path:
        return Check(name, OK, found)
    state = WRONG if gpu.works and gpu.pycuda is None and gpu.bindings is None else NOTE
    return Check(name, state, f"{found}, not on PATH, where building pycuda looks for it", f"export {_ENVIRONMENT}")


def choose_engine(gpu: Gpu, onnxruntime: Check) -> EngineChoice:
    """Return the engine that ``auto`` would try first; the bundle's parity gate may refuse it."""
    version = gpu.tensorrt.facts.get("version") if gpu.tensorrt is not None else None
    if not gpu.works:
        lacks = "a GPU with its driver"
    elif version is None or as_tuple(version) < tensorrt_api.OLDEST:
        lacks = "its package, 10.3 or newer"
    elif gpu.bindings is None and (gpu.pycuda is None or gpu.pycuda.fault):
        lacks = "pycuda or cuda-bindings"
    else:
        return EngineChoice("tensorrt", f"there are TensorRT {version}, a GPU and CUDA for Python")
    if onnxruntime.failed:
        return EngineChoice(None, f"TensorRT lacks {lacks}, and ONNX Runtime does not load")
    return EngineChoice("cpu", f"TensorRT lacks {lacks}; ONNX Runtime runs on any processor")


def parse_nvcc(text: str) -> str:
    """Return the release in ``nvcc --version``: ``Cuda compilation tools, release 12.6, V12.6.68`` is 12.6."""
    found = re.search(r"release (\d+\.\d+)", text)
    return found[1] if found else ""


def _install_pycuda(machine: Machine, gpu: Gpu, options: str = "") -> str:
    """Return the command for pycuda, which has no wheels; without a compiler, for cuda-bindings."""
    if gpu.compiler is None:
        return machine.pip_install("'cuda-bindings<13'" if 0 < gpu.cuda < _CUDA_13 else "cuda-bindings")
    return machine.pip_install(f"{options}pycuda", "" if gpu.on_path else _ENVIRONMENT)


def _present() -> bool:
    devices = [
        (read_text(f"{path}/vendor"), read_text(f"{path}/class")) for path in Path("/sys/bus/pci/devices").glob("*")
    ]
    # Windows' Linux does not show the bus.
    return any(vendor == _NVIDIA and kind.startswith(_DISPLAY) for vendor, kind in devices) or Path("/dev/dxg").exists()
