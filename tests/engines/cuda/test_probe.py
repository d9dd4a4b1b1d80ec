"""Asking for a GPU: on this machine as it is, and on machines with every fault."""

import json
import subprocess
import sys

import pytest
from fakes.cuda_errors import NO_DEVICE, STUB_LIBRARY
from fakes.install import installed

from engines.cuda.probe import DriverProbe, probe_driver, require_gpu
from engines.errors import EngineUnavailable


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)


def test_this_machine_answers_and_the_interpreter_lives():
    done = python("-m", "engines.cuda.probe")
    assert done.returncode == 0, done.stderr
    found = DriverProbe(**json.loads(done.stdout))
    assert found.ok == (found.devices > 0) == (not found.reason)
    if found.version:
        pytest.skip("this machine has a driver")
    assert found.reason.startswith("no CUDA driver: libcuda.so.1")


@pytest.mark.parametrize("name", ["auto", "pycuda", "cuda-bindings"])
def test_without_a_driver_nothing_crashes_and_all_say_the_same(name):
    code = (
        "import sys; from engines.cuda.pycuda import open_driver; from engines.errors import UserError\n"
        f"try: open_driver({name!r}, spin=False).close()\n"
        "except UserError as error: print(error); sys.exit(error.exit_code)"
    )
    if probe_driver().ok:
        pytest.skip("this machine has a GPU")
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (4, "")
    assert "expected an NVIDIA GPU and its driver" in done.stdout


def test_importing_the_drivers_imports_neither_package_nor_library():
    code = "import sys, engines.cuda.pycuda, engines.cuda.graph; print(sorted({'pycuda', 'cuda'} & set(sys.modules)))"
    assert python("-c", code).stdout == "[]\n"


def test_a_gpu_is_found():
    with installed():
        assert probe_driver() == DriverProbe(1, 12060)
        assert require_gpu().ok


@pytest.mark.parametrize(
    ("machine", "version", "reason", "advice"),
    [
        ({"driver": False}, 0, "no CUDA driver: libcuda.so.1: cannot open", "install NVIDIA's driver"),
        ({"devices": 0}, 12060, f"cuInit: error {NO_DEVICE}, no CUDA-capable device", "nvidia-smi lists a GPU"),
        ({"init_error": STUB_LIBRARY}, 12060, "cuInit: error 34, CUDA driver is a stub", "LD_LIBRARY_PATH"),
        ({"init_error": 12345}, 12060, "cuInit: error 12345, unknown to this driver", "nvidia-smi works"),
        (
            {"missing": ("cuDriverGetVersion",)},
            0,
            "cuDriverGetVersion: this driver does not have it",
            "nvidia-smi works",
        ),
        ({"no_gpu": True}, 12060, "the CUDA driver has no GPU", "nvidia-smi lists a GPU"),
    ],
)
def test_every_fault_is_reported_with_what_to_do(machine, version, reason, advice, monkeypatch):
    without = machine.pop("no_gpu", False)
    with installed(**machine) as gpu:
        if without:
            monkeypatch.setattr(gpu, "init", lambda: setattr(gpu, "initialised", True))
            gpu.devices = 0
        found = probe_driver()
        with pytest.raises(EngineUnavailable, match="an NVIDIA GPU") as caught:
            require_gpu()
    assert (found.ok, found.devices, found.version) == (False, 0, version)
    assert reason in found.reason
    assert advice in found.advice
    assert caught.value.exit_code == 4
    assert (caught.value.found, caught.value.advice) == (found.reason, found.advice)
