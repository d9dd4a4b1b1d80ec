"""Both CUDA drivers by the same tests: on fakes of their packages, and on a real GPU where there is one."""

import ast
import inspect
import logging
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from fakes import cuda_bindings, pycuda
from fakes.cuda_contexts import CONTEXT
from fakes.cuda_errors import ILLEGAL_ADDRESS, OUT_OF_MEMORY, CudaError
from fakes.install import installed

import engines
from engines.cuda.driver import Device
from engines.cuda.probe import probe_driver
from engines.cuda.pycuda import NAMES, open_driver
from engines.errors import EngineUnavailable, UserError

PACKAGES = ("pycuda", "cuda-bindings")
MODULES = {"pycuda": "pycuda.driver", "cuda-bindings": "cuda.bindings.driver"}
SPIN, BLOCKING_SYNC = 1, 4


def real_or_skip(name):
    if not probe_driver().ok:
        pytest.skip(f"no GPU here: {probe_driver().reason}")
    pytest.importorskip(MODULES[name], reason=f"{name} is not installed", exc_type=ImportError)


@pytest.fixture(params=PACKAGES)
def name(request):
    return request.param


@pytest.fixture(
    params=[pytest.param((name, False), id=name) for name in PACKAGES]
    + [pytest.param((name, True), id=f"real-{name}", marks=pytest.mark.gpu) for name in PACKAGES],
)
def driver(request):
    """An open driver: one on the lazy fake GPU, which does nothing before somebody waits, or a real one."""
    package, real = request.param
    if real:
        real_or_skip(package)
        opened = open_driver(package, spin=False)
        yield opened
        opened.close()
    else:
        with installed(lazy=True):
            opened = open_driver(package, spin=False)
            yield opened
            opened.close()


def test_the_device_is_described(driver):
    device = driver.device
    assert device.name
    assert "\0" not in device.name
    assert device.capability >= (5, 0)
    assert device.multiprocessors > 0
    assert device.driver >= 11000
    assert device.memory >= 1 << 30
    assert 0 < driver.free_memory() <= device.memory
    assert driver.stream not in {0, 1, 2}  # the default streams


def test_bytes_go_to_the_device_and_back(driver):
    sent, received = (driver.page_locked(1000, mapped=False) for _ in range(2))
    assert sent[0].dtype == np.uint8
    assert (sent[0].shape, sent[1]) == ((1000,), 0)
    address = driver.allocate(1000)
    sent[0][:] = np.arange(1000) % 251
    received[0][:] = 0
    driver.to_device(address, sent[0])
    driver.to_host(received[0], address)
    driver.synchronize()
    np.testing.assert_array_equal(received[0], np.arange(1000) % 251)


def test_parts_are_copied_at_offsets_and_with_any_dtype(driver):
    host, _ = driver.page_locked(400, mapped=False)
    address = driver.allocate(400)
    values = host.view(np.float32).reshape(10, 10)
    values[:] = np.arange(100).reshape(10, 10)
    driver.to_device(address, values)
    driver.synchronize()
    values[:] = -1
    driver.to_host(values[3:5], address + 3 * 40)
    driver.synchronize()
    np.testing.assert_array_equal(values[3:5], np.arange(30, 50).reshape(2, 10))
    assert (values[:3] == -1).all()
    assert (values[5:] == -1).all()


def test_mapped_memory_is_the_same_bytes(driver):
    host, address = driver.page_locked(64, mapped=True)
    other, _ = driver.page_locked(64, mapped=False)
    assert address
    host[:] = 7
    driver.to_host(other, address)
    driver.synchronize()
    assert (other == 7).all()
    other[:] = 9
    driver.to_device(address, other)
    driver.synchronize()
    assert (host == 9).all()


def test_only_contiguous_arrays_are_copied(driver):
    host, _ = driver.page_locked(64, mapped=False)
    address = driver.allocate(64)
    for view in (host[::2], host.reshape(8, 8).T):
        with pytest.raises(ValueError, match="contiguous"):
            driver.to_device(address, view)
        with pytest.raises(ValueError, match="contiguous"):
            driver.to_host(view, address)


def test_too_much_memory_is_reported_with_sizes_and_the_driver_lives_on(driver):
    with pytest.raises(EngineUnavailable, match=r"expected 1048576.0 MiB of device memory; found .* free on the GPU"):
        driver.allocate(1 << 40)
    with pytest.raises(EngineUnavailable) as caught:
        driver.page_locked(1 << 50, mapped=True)
    assert caught.value.exit_code == 4
    assert driver.allocate(16)


def test_another_thread_is_refused(driver):
    host, _ = driver.page_locked(16, mapped=False)
    refused = pytest.raises(RuntimeError, match="belongs to the thread that made it")
    calls = [
        lambda: driver.allocate(16),
        lambda: driver.page_locked(16, mapped=False),
        lambda: driver.to_device(0, host),
        lambda: driver.to_host(host, 0),
        driver.free_memory,
        driver.synchronize,
        driver.close,
    ]
    passed = []

    def run():
        for call in calls:
            with refused:
                call()
            passed.append(call)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert passed == calls
    assert driver.allocate(16)


def test_after_closing_it_is_closed_and_another_can_be_opened(driver):
    driver.allocate(16)
    driver.close()
    driver.close()
    for call in (lambda: driver.allocate(16), driver.synchronize, driver.free_memory):
        with pytest.raises(RuntimeError, match="closed"):
            call()
    again = open_driver(driver.name, spin=True)
    assert again.allocate(16)
    again.close()


def test_everything_is_freed_in_the_order_that_cuda_requires(name):
    with installed(lazy=True) as gpu:
        driver = open_driver(name, spin=False)
        address = driver.allocate(32)
        host, _ = driver.page_locked(32, mapped=False)
        driver.page_locked(32, mapped=True)
        driver.to_device(address, host)
        gpu.log.clear()
        driver.close()
        order = [line for line in gpu.log if line not in ("push", "retain")]
    buffers = ["free mapped", "free host", "free device"]
    assert order[: order.index("release") + 1] == ["synchronize", *buffers, "destroy stream", "pop", "release"]


def test_a_context_of_others_in_this_thread_stays_current(name):
    with installed() as gpu:
        gpu.init()
        gpu.retain()
        gpu.push()
        driver = open_driver(name, spin=False)
        driver.allocate(8)
        driver.close()
        assert gpu.stack[-1] == CONTEXT
        del gpu.stack[:]
        gpu.release()


def test_two_drivers_of_one_thread_are_closed_the_latest_first(name):
    with installed() as gpu:
        first, second = (open_driver(name, spin=False) for _ in range(2))
        second.close()
        assert gpu.stack == [CONTEXT]
        assert first.allocate(8)
        first.close()
        assert not gpu.stack


def test_how_to_wait_is_set_before_the_context_is_made(name):
    for spin, flags in ((True, SPIN), (False, BLOCKING_SYNC)):
        with installed() as gpu:
            open_driver(name, spin).close()
            assert gpu.flags == flags


def test_who_already_uses_the_gpu_keeps_its_way_to_wait(name, caplog):
    with installed(context_active=True) as gpu, caplog.at_level(logging.INFO):
        open_driver(name, spin=True).close()
        assert gpu.flags == 0
    assert "primary context active" in caplog.text


def test_what_the_device_says_is_passed_on(name):
    with installed(integrated=True, memory=1 << 33):
        driver = open_driver(name, spin=False)
        assert driver.device == Device("Fake Orin", (8, 7), 8, 12060, 1 << 33, True)
        driver.close()


@pytest.mark.parametrize("step", ["retain", "push", "create_stream"])
def test_a_constructor_that_fails_leaves_nothing(name, step, monkeypatch):
    def fail(*arguments):
        monkeypatch.undo()
        raise CudaError(OUT_OF_MEMORY)

    with installed() as gpu:
        monkeypatch.setattr(gpu, step, fail)
        with pytest.raises(EngineUnavailable, match="out of memory"):
            open_driver(name, spin=False)
        assert not gpu.stack
        assert not gpu.retained


def test_a_gpu_that_fails_is_reported_and_still_cleaned_up(name, caplog):
    with installed() as gpu:
        driver = open_driver(name, spin=False)
        driver.allocate(8)
        gpu.broken = ILLEGAL_ADDRESS
        with pytest.raises(EngineUnavailable, match="illegal memory access"):
            driver.synchronize()
        driver.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_context_that_cannot_be_given_back_is_logged(caplog):
    with installed(missing=("cuCtxGetCurrent",)) as gpu:
        driver = open_driver("pycuda", spin=False)
        driver.close()
        assert "cuCtxGetCurrent: this driver does not have it" in caplog.text
        gpu.faults.clear()
        gpu.retained = 0


def test_auto_takes_what_is_there():
    for packages, chosen in ((PACKAGES, "pycuda"), (["pycuda"], "pycuda"), (["cuda-bindings"], "cuda-bindings")):
        with installed(packages):
            driver = open_driver("auto", spin=False)
            assert driver.name == chosen
            driver.close()


@pytest.mark.parametrize(("wanted", "advice"), [("pycuda", "export PATH="), ("cuda-bindings", "install cuda-bindings")])
def test_a_missing_package_is_named_with_how_to_install_it(wanted, advice):
    with installed([name for name in PACKAGES if name != wanted]), pytest.raises(EngineUnavailable) as caught:
        open_driver(wanted, spin=False)
    assert caught.value.exit_code == 4
    assert wanted in caught.value.expected
    assert advice in caught.value.advice


@pytest.mark.parametrize(
    "error", [ImportError("undefined symbol: cuX_v2"), RuntimeError("module compiled against ABI")]
)
def test_a_package_that_does_not_load_is_reported(name, error, monkeypatch):
    def fail(module):
        raise error

    with installed():
        monkeypatch.setattr("importlib.import_module", fail)
        with pytest.raises(EngineUnavailable, match=str(error)):
            open_driver(name, spin=False)


def test_without_either_package_both_are_named():
    with (
        installed([]),
        pytest.raises(EngineUnavailable, match=r"pycuda or cuda-bindings.*install cuda-bindings") as caught,
    ):
        open_driver("auto", spin=False)
    assert caught.value.exit_code == 4


def test_no_gpu_is_no_fault_of_the_packages():
    with installed([], devices=0), pytest.raises(EngineUnavailable, match="no CUDA-capable device"):
        open_driver("auto", spin=False)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UserError, match=", ".join(NAMES)):
        open_driver("cupy", spin=False)


# What the fakes have must be what the packages have, and what the drivers use must be in the fakes.


def used(module, root):
    """Names that a module of engines takes from ``self._root``."""
    tree = ast.parse((Path(engines.__file__).parent / "cuda" / module).read_text())
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == root
    }


def test_drivers_use_only_what_was_verified():
    assert used("pycuda.py", "_pycuda") <= set(vars(pycuda.modules()["pycuda.driver"]))
    assert used("bindings.py", "_cuda") <= set(vars(cuda_bindings.modules()["cuda.bindings.driver"]))


def test_each_package_is_imported_in_one_place():
    sources = {path.name: path.read_text() for path in Path(engines.__file__).parent.rglob("*.py")}
    assert [file for file, text in sources.items() if 'import_module("pycuda' in text] == ["pycuda.py"]
    assert [file for file, text in sources.items() if 'import_module("cuda.' in text] == ["bindings.py"]
    assert [file for file, text in sources.items() if "CDLL(" in text] == ["libcuda.py"]
    assert not [file for file, text in sources.items() if re.search(r"^\s*(import|from) (pycuda|cuda\b)", text, re.M)]


def test_the_fake_of_cuda_bindings_is_like_the_real_one():
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    for fake in cuda_bindings.FUNCTIONS:
        head = getattr(real, fake.__name__).__doc__.splitlines()[
            0
        ]  # say cuMemHostAlloc(size_t bytesize, unsigned int Flags)
        parameters = re.findall(r"(\w+)(?:: \w+)?[,)]", head)
        assert parameters == list(inspect.signature(fake).parameters), head
    for member in cuda_bindings.CUdevice_attribute:
        assert getattr(real.CUdevice_attribute, member.name) == member
    assert real.CUresult.CUDA_ERROR_OUT_OF_MEMORY == OUT_OF_MEMORY
    assert real.CU_MEMHOSTALLOC_DEVICEMAP == cuda_bindings.CU_MEMHOSTALLOC_DEVICEMAP


def test_the_fake_of_pycuda_is_like_the_real_one():
    real = pytest.importorskip("pycuda.driver", reason="pycuda needs a driver to be imported", exc_type=ImportError)
    for fake in pycuda.NAMES:
        there = getattr(real, fake.__name__)
        if inspect.isclass(fake):
            members = {member for member in vars(fake) if not member.startswith("_")}
            assert members <= set(dir(there)), fake
            assert issubclass(there, Exception) == issubclass(fake, Exception)
    assert real.MemoryError.__mro__[1] is real.Error
    assert real.host_alloc_flags.DEVICEMAP == pycuda.host_alloc_flags.DEVICEMAP
