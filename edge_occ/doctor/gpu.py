"""What TensorRT needs: a GPU with its driver, TensorRT itself, and CUDA for Python."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from edge_occ.doctor.machine import Machine, read_text
from edge_occ.doctor.probing import PATIENCE, Answer, Pending, ask, ask_python
from edge_occ.doctor.python import as_tuple, version_of
from edge_occ.doctor.report import Check, State
from engines.tensorrt import api as tensorrt_api

_NVIDIA = "0x10de"
_DISPLAY = "0x03"
_CUDA = Path("/usr/local/cuda")
_ENVIRONMENT = f"PATH={_CUDA}/bin:$PATH CUDA_ROOT={_CUDA}"
_CUDA_13 = 13000

_DRIVER = """
from dataclasses import asdict
from engines.cuda.probe import probe_driver
say(**asdict(probe_driver()))
"""
_TENSORRT = """
import tensorrt
say(version=tensorrt.__version__)
"""
_PYCUDA = """
import pycuda.driver
say(loads=True)
"""


@dataclass(frozen=True)
class Gpu:
    """What was found of each part.

    Attributes:
        driver: fields of :class:`engines.cuda.probe.DriverProbe`.
        present: whether a GPU of NVIDIA's is in this machine.
        tensorrt: of importing it, with its ``version``; ``None`` if it is not there.
        pycuda: of importing it; ``None`` if it is not there.
        pycuda_version: by its metadata.
        bindings: version of cuda-bindings, ``None`` if it is not there.
        compiler: path of nvcc, ``None`` if it is not there.
        on_path: whether the shell finds it.
        release: of the CUDA toolkit.
    """

    driver: Answer
    present: bool = False
    tensorrt: Answer | None = None
    pycuda: Answer | None = None
    pycuda_version: str | None = None
    bindings: str | None = None
    compiler: str | None = None
    on_path: bool = False
    release: str = ""

    @property
    def works(self) -> bool:
        """Whether there is a driver with a GPU."""
        return bool(self.driver.facts.get("devices", 0))

    @property
    def trouble(self) -> str:
        """What is wrong with the driver, in words."""
        return str(self.driver.facts.get("reason") or f"probing the driver: {self.driver.fault}")

    @property
    def cuda(self) -> int:
        """The newest CUDA version of the driver, 12060 for 12.6; 0 if unknown."""
        return int(self.driver.facts.get("version", 0))


def read_gpu() -> Gpu:
    """Look for everything; what may crash is imported in children, all at once."""
    deadline = time.monotonic() + 2 * PATIENCE
    driver = Pending(partial(ask_python, _DRIVER), _failed)
    tensorrt = Pending(partial(ask_python, _TENSORRT), _failed) if find_spec("tensorrt") else None
    pycuda = Pending(partial(ask_python, _PYCUDA), _failed) if find_spec("pycuda") else None
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
        release=parse_nvcc(ask([compiler, "--version"]).output) if compiler else "",
    )


def check_gpu(machine: Machine, gpu: Gpu) -> list[Check]:
    """Driver, TensorRT, CUDA for Python and its compiler."""
    return [
        check_driver(machine, gpu),
        check_tensorrt(machine, gpu),
        check_cuda_python(machine, gpu),
        check_toolkit(gpu),
    ]


def check_driver(machine: Machine, gpu: Gpu) -> Check:
    """Whether CUDA can be initialised."""
    name, words = "nvidia driver", gpu.trouble
    if gpu.works:
        found = f"CUDA {gpu.cuda // 1000}.{gpu.cuda % 1000 // 10}, GPUs: {gpu.driver.facts['devices']}"
        return Check(name, State.OK, found)
    if not gpu.present and not machine.jetson:
        return Check(name, State.NOTE, "no NVIDIA GPU in this machine")
    if machine.container:
        option = "--runtime nvidia" if machine.jetson else "--gpus all"
        return Check(name, State.MISSING, f"{words}; the container must be started by docker run {option}")
    if words.startswith("no CUDA driver"):
        return Check(name, State.MISSING, words, _install_driver(machine))
    # The library is there but not its kernel module, or not the same version of it, or not the rights to use it.
    fix = machine.sudo("usermod -aG video,render $USER" if machine.jetson else "reboot")
    return Check(name, State.WRONG, words, fix)


def check_tensorrt(machine: Machine, gpu: Gpu) -> Check:
    """Whether TensorRT is there, loads, and is new enough."""
    name, fix = "tensorrt", _tensorrt(machine, gpu)
    if gpu.tensorrt is None:
        if machine.too_old:
            return Check(name, State.NOTE, "not seen by this Python; that of this JetPack would be too old anyway")
        if gpu.works or machine.jetson:
            found = "not installed" if not machine.jetson or machine.sees_system_packages else "not seen by this Python"
            return Check(name, State.MISSING, found, fix)
        return Check(name, State.NOTE, "not installed, and of no use without an NVIDIA GPU")
    version = gpu.tensorrt.facts.get("version")
    if version is None:
        return Check(name, State.WRONG, gpu.tensorrt.fault, fix)
    if as_tuple(version) < tensorrt_api.OLDEST:
        return Check(name, State.WRONG, f"{version}; 10.3 or newer is needed", None if machine.too_old else fix)
    return Check(name, State.OK, version if gpu.works else f"{version}, of no use without the driver")


def check_cuda_python(machine: Machine, gpu: Gpu) -> Check:
    """Whether pycuda or cuda-bindings is there; either will do."""
    name, bindings = "cuda for python", f"cuda-bindings {gpu.bindings}"
    if gpu.pycuda is not None:
        found = f"pycuda {gpu.pycuda_version or 'of unknown version'}"
        if not gpu.pycuda.fault:
            return Check(name, State.OK, found)
        if not gpu.works:
            return Check(name, State.NOTE, f"{found}, not tried without the driver")
        fix = _build_pycuda(machine, gpu, "--force-reinstall --no-cache-dir --no-deps ")
        return Check(name, State.WRONG, f"{found}: {gpu.pycuda.fault}", fix)
    if gpu.bindings is not None:
        return Check(name, State.OK, bindings)
    if not gpu.works:
        return Check(name, State.NOTE, "neither pycuda nor cuda-bindings, and of no use without the driver")
    return Check(name, State.MISSING, "neither pycuda nor cuda-bindings", _build_pycuda(machine, gpu))


def check_toolkit(gpu: Gpu) -> Check:
    """Whether pip would find the compiler that building pycuda needs."""
    name = "cuda toolkit"
    if gpu.compiler is None:
        return Check(name, State.NOTE, "no nvcc; only building pycuda needs it")
    found = f"nvcc {gpu.release or 'of unknown version'} at {gpu.compiler}"
    if gpu.on_path:
        return Check(name, State.OK, found)
    state = State.WRONG if gpu.works and gpu.pycuda is None and gpu.bindings is None else State.NOTE
    found += ", not on PATH, where building pycuda looks for it"
    return Check(name, state, found, f"export {_ENVIRONMENT}")


def parse_nvcc(text: str) -> str:
    """Release in ``nvcc --version``: ``Cuda compilation tools, release 12.6, V12.6.68`` is 12.6."""
    found = re.search(r"release (\d+\.\d+)", text)
    return found[1] if found else ""


def _install_driver(machine: Machine) -> str | None:
    if machine.jetson:
        return machine.apt_install("nvidia-l4t-cuda")
    if machine.system.startswith("Ubuntu"):
        return machine.sudo("ubuntu-drivers install")
    return machine.apt_install("nvidia-driver")


def _tensorrt(machine: Machine, gpu: Gpu) -> str | None:
    if machine.jetson:
        # JetPack brings the one that fits the board; PyPI has none for JetPack 6, and later ones not for every board.
        by_apt = machine.apt_install("python3-libnvinfer")
        return by_apt if machine.sees_system_packages else machine.see_system_packages()
    return machine.pip_install("tensorrt-cu12" if 0 < gpu.cuda < _CUDA_13 else "tensorrt")


def _build_pycuda(machine: Machine, gpu: Gpu, options: str = "") -> str:
    """There are no wheels of pycuda; without a compiler NVIDIA's own bindings do."""
    if gpu.compiler is None:
        return machine.pip_install("'cuda-bindings<13'" if 0 < gpu.cuda < _CUDA_13 else "cuda-bindings")
    return machine.pip_install(f"{options}pycuda", "" if gpu.on_path else _ENVIRONMENT)


def _present() -> bool:
    devices = Path("/sys/bus/pci/devices").glob("*")
    on_the_bus = any(
        read_text(f"{device}/vendor") == _NVIDIA and read_text(f"{device}/class").startswith(_DISPLAY)
        for device in devices
    )
    # Windows' Linux does not show the bus.
    return on_the_bus or Path("/dev/dxg").exists()


def _failed(words: str) -> Answer:
    return Answer(fault=words)
