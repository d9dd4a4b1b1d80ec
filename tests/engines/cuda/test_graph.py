"""CUDA graphs through the fake library and, where there is one, through the real."""

import logging

import numpy as np
import pytest
from fakes.cuda import submit
from fakes.cuda_errors import INVALID_VALUE, CudaError
from fakes.install import installed

from engines.cuda.graph import capture
from engines.cuda.probe import probe_driver
from engines.cuda.pycuda import open_driver
from engines.errors import EngineUnavailable

DRIVERS = ("pycuda", "cuda-bindings")


@pytest.fixture(params=DRIVERS)
def name(request):
    return request.param


def frame_of(driver, nbytes=64):
    """Host memory to send, device memory, host memory to receive, and the work of one frame."""
    (sent, _), (received, _) = (driver.page_locked(nbytes, mapped=False) for _ in range(2))
    address = driver.allocate(nbytes)

    def work():
        driver.to_device(address, sent)
        driver.to_host(received, address)

    return sent, received, work


def replay(driver):
    sent, received, work = frame_of(driver)
    sent[:], received[:] = 1, 0
    graph = capture(driver.stream, work)
    assert graph is not None
    driver.synchronize()
    assert (received == 0).all()  # recorded, not done
    for value in (3, 4, 5):
        sent[:] = value
        graph.launch()
        driver.synchronize()
        assert (received == value).all()
    graph.close()
    graph.close()
    with pytest.raises(RuntimeError, match="closed"):
        graph.launch()


def plain(driver):
    """The stream is usable without a graph."""
    sent, received, work = frame_of(driver)
    sent[:] = 6
    work()
    driver.synchronize()
    assert (received == 6).all()


def test_what_was_captured_is_done_with_each_launch(name):
    with installed(lazy=True) as gpu:
        driver = open_driver(name, spin=False)
        replay(driver)
        plain(driver)
        driver.close()
    assert gpu.log.count("launch") == 3
    assert gpu.log.index("end capture") < gpu.log.index("destroy graph") < gpu.log.index("launch")


@pytest.mark.gpu
def test_the_same_on_a_real_gpu(name):
    if not probe_driver().ok:
        pytest.skip(f"no GPU here: {probe_driver().reason}")
    module = {"pycuda": "pycuda.driver", "cuda-bindings": "cuda.bindings.driver"}[name]
    pytest.importorskip(module, reason=f"{name} is not installed", exc_type=ImportError)
    driver = open_driver(name, spin=False)
    try:
        replay(driver)
        plain(driver)
        assert capture(driver.stream, driver.synchronize) is None  # waiting cannot be captured
        plain(driver)
        replay(driver)
    finally:
        driver.close()


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        ({"can_capture": False}, "operation not permitted when stream is capturing"),
        ({"can_instantiate": False}, "operation not supported"),
        ({"missing": ("cuGraphInstantiateWithFlags",)}, "does not have it"),
        ({"missing": ("cuStreamBeginCapture_v2",)}, "does not have it"),
    ],
)
def test_where_it_cannot_be_done_the_reason_is_logged_and_the_stream_lives(name, machine, reason, caplog):
    with installed(lazy=True, **machine):
        driver = open_driver(name, spin=False)
        with caplog.at_level(logging.WARNING):
            assert capture(driver.stream, frame_of(driver)[2]) is None
        assert len(caplog.records) == 1
        assert reason in caplog.text
        plain(driver)
        driver.close()


@pytest.mark.parametrize("spoil", ["synchronize", "allocate"])
def test_work_that_cannot_be_captured_spoils_nothing_else(name, spoil, caplog):
    with installed(lazy=True):
        driver = open_driver(name, spin=False)
        _, _, work = frame_of(driver)

        def spoilt():
            work()
            driver.synchronize() if spoil == "synchronize" else driver.allocate(8)

        assert capture(driver.stream, spoilt) is None
        assert "stream is capturing" in caplog.text
        plain(driver)
        replay(driver)
        driver.close()


def test_a_capture_spoilt_unnoticed_is_found_at_its_end(name, caplog):
    with installed() as gpu:
        driver = open_driver(name, spin=False)
        _, _, work = frame_of(driver)

        def spoilt():
            work()
            gpu.streams[driver.stream].invalidated = True

        assert capture(driver.stream, spoilt) is None
        assert "previous error during capture" in caplog.text
        plain(driver)
        driver.close()


@pytest.mark.parametrize("error", [EngineUnavailable("a", "TensorRT refuses", "c"), RuntimeError("TensorRT refuses")])
def test_work_that_refuses_ends_the_capture(name, error, caplog):
    def refuse():
        raise error

    with installed() as gpu:
        driver = open_driver(name, spin=False)
        assert capture(driver.stream, refuse) is None
        assert "TensorRT refuses" in caplog.text
        assert gpu.log[-1] == "destroy graph"
        plain(driver)
        driver.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, TypeError])
def test_anything_else_passes_on_but_the_capture_is_ended(name, error):
    def fail():
        raise error

    with installed():
        driver = open_driver(name, spin=False)
        with pytest.raises(error):
            capture(driver.stream, fail)
        plain(driver)
        replay(driver)
        driver.close()


def test_a_launch_that_fails_is_reported(name, monkeypatch):
    def fail(*arguments):
        raise CudaError(INVALID_VALUE)

    with installed() as gpu:
        driver = open_driver(name, spin=False)
        graph = capture(driver.stream, frame_of(driver)[2])
        monkeypatch.setattr(gpu, "launch", fail)
        with pytest.raises(EngineUnavailable, match="cuGraphLaunch: error 1, invalid argument") as caught:
            graph.launch()
        assert caught.value.exit_code == 4
        graph.close()
        driver.close()


def test_a_graph_that_cannot_be_freed_is_logged(name, monkeypatch, caplog):
    def fail(*arguments):
        gpu.executables.clear()
        raise CudaError(INVALID_VALUE)

    with installed() as gpu:
        driver = open_driver(name, spin=False)
        graph = capture(driver.stream, frame_of(driver)[2])
        monkeypatch.setattr(gpu, "destroy_executable", fail)
        graph.close()
        assert "was not freed: cuGraphExecDestroy" in caplog.text
        driver.close()


def test_work_of_others_in_the_stream_is_captured_too(name):
    done = []
    with installed():
        driver = open_driver(name, spin=False)
        graph = capture(driver.stream, lambda: submit(driver.stream, lambda: done.append(1)))
        assert done == []
        graph.launch()
        graph.launch()
        assert done == [1, 1]
        graph.close()
        driver.close()


def test_handles_keep_their_64_bits(name):
    with installed() as gpu:
        driver = open_driver(name, spin=False)
        assert driver.stream >> 32
        graph = capture(driver.stream, lambda: None)
        assert [handle >> 32 != 0 for handle in gpu.executables] == [True]
        graph.launch()
        graph.close()
        driver.close()
    assert np.iinfo(np.uintp).bits == 64
