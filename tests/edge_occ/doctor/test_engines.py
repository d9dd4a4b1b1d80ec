"""GPU, TensorRT, CUDA for Python and the choice of the engine; packages that crash are real ones, made here."""

import dataclasses

import pytest

from edge_occ.doctor.engines import (
    Gpu,
    check_cuda_python,
    check_driver,
    check_gpu,
    check_onnxruntime,
    check_tensorrt,
    check_toolkit,
    choose_engine,
    parse_nvcc,
    read_gpu,
    read_onnxruntime,
)
from edge_occ.doctor.machine import Machine
from edge_occ.doctor.probing import ProbeResult
from edge_occ.doctor.report import Check, CheckState
from engines.cuda.probe import DriverProbe, probe_driver

PC = Machine(venv=True, executable="/opt/env/bin/python", system="Ubuntu 24.04.3 LTS")
DEBIAN = dataclasses.replace(PC, system="Debian GNU/Linux 12 (bookworm)")
JETSON = Machine(board="NVIDIA Jetson AGX Orin Developer Kit", l4t="36.4.3", venv=True, system_site=True)
OLD_JETSON = dataclasses.replace(JETSON, l4t="35.4.1")
BLIND_JETSON = dataclasses.replace(JETSON, system_site=False, prefix="/home/me/env")

NO_DRIVER = "no CUDA driver: libcuda.so.1: cannot open shared object file: No such file or directory"
NVCC = """nvcc: NVIDIA (R) Cuda compiler driver
Copyright (c) 2005-2024 NVIDIA Corporation
Built on Wed_Aug_14_10:14:07_PDT_2024
Cuda compilation tools, release 12.6, V12.6.68
Build cuda_12.6.r12.6/compiler.34714021_0
"""
READY = Check("onnxruntime", CheckState.OK, "1.23.2")
BROKEN = Check("onnxruntime", CheckState.MISSING, "none")


def driver(**facts):
    return ProbeResult(facts=dataclasses.asdict(DriverProbe(**facts)))


def gpu(cuda=12060, **parts):
    """A machine whose driver works."""
    return Gpu(driver(devices=1, version=cuda), present=True, **parts)


def no_gpu(reason=NO_DRIVER, version=0, **parts):
    return Gpu(driver(devices=0, version=version, reason=reason), **parts)


def tensorrt(version):
    return ProbeResult(facts={"version": version})


def test_a_whole_jetson():
    parts = gpu(
        tensorrt=tensorrt("10.3.0"), pycuda=ProbeResult(), pycuda_version="2025.1", compiler="/x/nvcc", on_path=True
    )
    checks = check_gpu(JETSON, parts)
    assert [check.state for check in checks] == [CheckState.OK] * 4
    assert checks[0].found == "CUDA 12.6, GPUs: 1"
    assert choose_engine(parts, READY).name == "tensorrt"
    assert choose_engine(parts, BROKEN).name == "tensorrt"


def test_no_gpu_is_a_note_and_the_cpu_is_taken():
    checks = check_gpu(PC, no_gpu())
    assert {check.state for check in checks} == {CheckState.NOTE}
    assert all(check.fix is None for check in checks)
    assert choose_engine(no_gpu(), READY).name == "cpu"
    assert choose_engine(no_gpu(), BROKEN).name is None


@pytest.mark.parametrize(
    ("machine", "reason", "state", "fix"),
    [
        (PC, NO_DRIVER, CheckState.MISSING, "sudo ubuntu-drivers install"),
        (DEBIAN, NO_DRIVER, CheckState.MISSING, "sudo apt install nvidia-driver"),
        (JETSON, NO_DRIVER, CheckState.MISSING, "sudo apt install nvidia-l4t-cuda"),
        (PC, "the CUDA driver refuses: cuInit: error 999, unknown error", CheckState.WRONG, "sudo reboot"),
        (JETSON, "the CUDA driver refuses: cuInit: error 999", CheckState.WRONG, "sudo usermod -aG video,render $USER"),
    ],
)
def test_a_gpu_without_its_driver(machine, reason, state, fix):
    check = check_driver(machine, no_gpu(reason, present=True))
    assert (check.state, check.fix) == (state, fix)
    assert check.found == reason


def test_containers_must_be_given_the_gpu():
    for machine, option in ((PC, "--gpus all"), (JETSON, "--runtime nvidia")):
        check = check_driver(dataclasses.replace(machine, container=True), no_gpu(present=True))
        assert check.state is CheckState.MISSING
        assert check.found.endswith(option)


def test_a_probe_that_crashes_is_a_finding():
    crashed = Gpu(ProbeResult(fault="ended by SIGSEGV"), present=True)
    check = check_driver(PC, crashed)
    assert check.state is CheckState.WRONG
    assert "SIGSEGV" in check.found
    assert choose_engine(crashed, READY).name == "cpu"


@pytest.mark.parametrize(
    ("machine", "cuda", "state", "fix"),
    [
        (JETSON, 12060, CheckState.MISSING, "sudo apt install python3-libnvinfer"),
        (BLIND_JETSON, 12060, CheckState.MISSING, "/usr/bin/python3 -m venv --system-site-packages /home/me/env"),
        (OLD_JETSON, 11040, CheckState.NOTE, None),
        (PC, 13000, CheckState.MISSING, "/opt/env/bin/python -m pip install tensorrt"),
        (PC, 12080, CheckState.MISSING, "/opt/env/bin/python -m pip install tensorrt-cu12"),
    ],
)
def test_no_tensorrt(machine, cuda, state, fix):
    check = check_tensorrt(machine, gpu(cuda))
    assert (check.state, check.fix) == (state, fix)


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("8.5.2.2", CheckState.WRONG),
        ("10.0.1", CheckState.WRONG),
        ("10.3.0", CheckState.OK),
        ("10.16.2.10", CheckState.OK),
        ("11.4.1", CheckState.OK),
    ],
)
def test_versions_of_tensorrt(version, state):
    parts = gpu(tensorrt=tensorrt(version), bindings="13.0.1")
    assert check_tensorrt(JETSON, parts).state is state
    assert choose_engine(parts, READY).name == ("tensorrt" if state is CheckState.OK else "cpu")


def test_tensorrt_without_its_libraries():
    fault = "ImportError: libnvinfer.so.10: cannot open shared object file: No such file or directory"
    parts = gpu(tensorrt=ProbeResult(fault=fault), bindings="13.0.1")
    check = check_tensorrt(JETSON, parts)
    assert (check.state, check.found) == (CheckState.WRONG, fault)
    assert choose_engine(parts, READY).name == "cpu"


def test_the_compiler_is_there_but_not_on_path():
    parts = gpu(tensorrt=tensorrt("10.3.0"), compiler="/usr/local/cuda/bin/nvcc", release=parse_nvcc(NVCC))
    toolkit = check_toolkit(parts)
    assert (toolkit.state, toolkit.found[:9]) == (CheckState.WRONG, "nvcc 12.6")
    assert toolkit.fix == "export PATH=/usr/local/cuda/bin:$PATH CUDA_ROOT=/usr/local/cuda"
    pycuda = check_cuda_python(JETSON, parts)
    assert pycuda.state is CheckState.MISSING
    assert pycuda.fix.startswith("env PATH=/usr/local/cuda/bin:$PATH CUDA_ROOT=/usr/local/cuda ")
    assert pycuda.fix.endswith("pip install 'numpy<2' pycuda")
    assert "pycuda" in choose_engine(parts, READY).why
    # Once pycuda is built, the compiler is of no more concern.
    assert check_toolkit(dataclasses.replace(parts, pycuda=ProbeResult())).state is CheckState.NOTE


def test_without_a_compiler_nvidias_bindings_do():
    assert check_cuda_python(PC, gpu(12080)).fix.endswith("pip install 'cuda-bindings<13'")
    assert check_cuda_python(PC, gpu(13000)).fix.endswith("pip install cuda-bindings")
    assert check_cuda_python(PC, gpu(bindings="12.9.4")).state is CheckState.OK
    broken = gpu(pycuda=ProbeResult(fault="ImportError: undefined symbol: cuArrayCreate_v2"), pycuda_version="2024.1")
    assert check_cuda_python(PC, broken).state is CheckState.WRONG
    absent = no_gpu(pycuda=ProbeResult(fault="ImportError: libcuda.so.1"), pycuda_version="2024.1")
    assert check_cuda_python(PC, absent).state is CheckState.NOTE


def test_packages_that_crash_or_complain_on_import_harm_nobody(tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda" / "__init__.py").touch()
    (tmp_path / "pycuda" / "driver.py").write_text(
        "raise ImportError('libcuda.so.1: cannot open shared object file')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    parts = read_gpu()
    assert parts.tensorrt.fault == "ended by SIGSEGV"
    assert parts.pycuda.fault == "ImportError: libcuda.so.1: cannot open shared object file"
    assert check_tensorrt(PC, parts).state is CheckState.WRONG


def test_this_machine():
    parts, here = read_gpu(), probe_driver()
    assert parts.works == here.ok
    assert parts.cuda == here.version
    check_gpu(PC, parts)


def test_onnxruntime_here():
    check = check_onnxruntime(PC, read_onnxruntime())
    assert check.state is CheckState.OK
    assert "CPU" in check.found


@pytest.mark.parametrize(
    ("answer", "state", "fix"),
    [
        (
            ProbeResult(errors="ModuleNotFoundError: No module named 'onnxruntime'", fault="x"),
            CheckState.MISSING,
            "/opt/env/bin/python -m pip install onnxruntime",
        ),
        (
            ProbeResult(fault="ended by SIGILL"),
            CheckState.WRONG,
            "/opt/env/bin/python -m pip install --force-reinstall --no-deps onnxruntime",
        ),
        (
            ProbeResult(facts={"version": "1.10.0", "providers": ["CPUExecutionProvider"]}),
            CheckState.WRONG,
            "/opt/env/bin/python -m pip install 'onnxruntime>=1.17'",
        ),
    ],
)
def test_an_onnxruntime_of_no_use(answer, state, fix):
    check = check_onnxruntime(PC, answer)
    assert (check.state, check.fix) == (state, fix)
    assert choose_engine(no_gpu(), check).name is None
