"""The fake GPU is strict: every misuse that it is there to find makes a test fail."""

import ctypes

import numpy as np
import pytest

from engines.cuda import libcuda
from engines.cuda.pycuda import open_driver
from engines.errors import EngineUnavailable
from fakes.cuda import FREED, FRESH, Gpu
from fakes.install import installed

PACKAGES = ("pycuda", "cuda-bindings")


@pytest.fixture(params=PACKAGES)
def name(request):
    return request.param


def strict(match):
    return pytest.raises(AssertionError, match=match)


def opened(gpu):
    """The GPU in use by hand, for misuse that the drivers do not let happen."""
    gpu.init()
    gpu.retain()
    gpu.push()
    return gpu.create_stream(1)


def shut(gpu, stream):
    gpu.destroy_stream(stream)
    gpu.pop()
    gpu.release()


def test_a_driver_left_open_is_found(name):
    with strict("not freed"), installed():
        kept = open_driver(name, spin=False)
        kept.allocate(8)


def test_memory_left_when_the_context_is_popped_is_found():
    with strict("context popped while these are live"), installed() as gpu:
        stream = opened(gpu)
        gpu.allocate(8, "device")
        shut(gpu, stream)


def test_what_works_on_top_must_be_gone_too():
    with strict("context popped while these are live: .*'engine'"), installed() as gpu:
        stream = opened(gpu)
        gpu.hold("engine")
        shut(gpu, stream)
        gpu.drop("engine")


def test_freeing_after_the_context_is_found():
    with strict("without a context"), installed() as gpu:
        stream = opened(gpu)
        address = gpu.allocate(8, "device")
        shut(gpu, stream)
        with pytest.raises(Exception, match="invalid device context"):
            gpu.free(address, "device")


def test_a_write_after_free_is_found():
    with strict("written after it was freed"), installed() as gpu:
        stream = opened(gpu)
        address = gpu.allocate(8, "device")
        gpu.free(address, "device")
        ctypes.memset(address, 1, 1)
        shut(gpu, stream)


def test_a_read_after_free_shows_poison():
    with installed() as gpu:
        stream = opened(gpu)
        address = gpu.allocate(8, "device")
        assert ctypes.string_at(address, 8) == bytes([FRESH]) * 8
        gpu.free(address, "device")
        assert ctypes.string_at(address, 8) == bytes([FREED]) * 8
        shut(gpu, stream)


def test_a_graph_that_uses_freed_memory_is_found():
    with strict("device memory, freed"), installed() as gpu:
        stream = opened(gpu)
        device, host = gpu.allocate(8, "device"), gpu.allocate(8, "host")
        gpu.begin_capture(stream)
        gpu.copy_to_host(host, device, 8, stream)
        executable = gpu.instantiate(gpu.end_capture(stream))
        gpu.free(device, "device")
        with pytest.raises(Exception, match="illegal memory access"):
            gpu.launch(executable, stream)


@pytest.mark.parametrize("offset", [-1, 8])
def test_a_write_beyond_the_memory_is_found(offset):
    with strict("beyond 8 bytes"), installed() as gpu:
        stream = opened(gpu)
        address = gpu.allocate(8, "device")
        ctypes.memset(address + offset, 1, 1)
        gpu.free(address, "device")
        shut(gpu, stream)


@pytest.mark.parametrize("pageable", [False, True])
def test_a_copy_beyond_the_memory_or_of_pageable_memory_is_found(name, pageable):
    with strict("bytes at"), installed():
        driver = open_driver(name, spin=False)
        host, _ = driver.page_locked(16, mapped=False)
        with pytest.raises(EngineUnavailable, match="illegal memory access"):
            driver.to_device(driver.allocate(8), np.zeros(8, np.uint8) if pageable else host)
        driver.close()


def test_freeing_twice_is_found():
    with strict("no live device allocation"), installed() as gpu:
        opened(gpu)
        address = gpu.allocate(8, "device")
        gpu.free(address, "device")
        with pytest.raises(Exception, match="invalid argument"):
            gpu.free(address, "device")


def test_nothing_is_visible_before_somebody_waits(name):
    with installed(lazy=True):
        driver = open_driver(name, spin=False)
        host, address = driver.page_locked(4, mapped=True)
        other, _ = driver.page_locked(4, mapped=False)
        host[:] = 1
        driver.to_host(other, address)
        assert (other == FRESH).all()
        driver.synchronize()
        assert (other == 1).all()
        driver.close()


def test_freeing_under_work_in_flight_is_found():
    with strict("while work is in flight"), installed(lazy=True) as gpu:
        stream = opened(gpu)
        device, host = gpu.allocate(8, "device"), gpu.allocate(8, "host")
        gpu.copy_to_host(host, device, 8, stream)
        gpu.free(device, "device")


def test_a_library_called_without_argument_types_loses_half_a_handle():
    with strict("no live stream"), installed() as gpu:
        stream = opened(gpu)
        assert libcuda.load_libcuda().cuStreamBeginCapture_v2(stream, 1) != 0


def test_a_gpu_by_itself_is_clean():
    Gpu().check()
