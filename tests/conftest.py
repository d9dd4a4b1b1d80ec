"""Fixtures for all tests: the real images beside the checkout, a tiny data set, and a bundle made from it."""

from __future__ import annotations

import fcntl
import functools
import gc
import os
import platform
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import engines  # noqa: F401 - before any test imports a runtime: it switches off their telemetry

sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode leaves helpers beside the tests out of the path
from discs import make_bundle, make_data
from mqtt_helpers import Mosquitto

# Where the tests run in the background of a script, Ctrl-C is ignored, by their children too; some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine must not fail a test: no example has a time limit.  make test-all takes the thorough profile.
settings.register_profile("thorough", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("short", settings.get_profile("thorough"), max_examples=40)
settings.load_profile("short")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that at the end no processor waits for one of them."""
    size = Counter(item.path for item in items)
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: (item.path not in long, "trainer" not in item.path.parts, -size[item.path]))


# Tests and modules live as long as the process.  To look through them whenever garbage is collected takes a third of
# the time of collecting tests, and later up to a tenth of that of the tests.
gc.disable()


def pytest_collection_finish() -> None:
    """Prepare a process for thousands of tests."""
    _keep_operator_table()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def _keep_operator_table() -> None:
    """Let torch make its table of ONNX operators once a process, not in every export, which takes it nearly a second.

    Only where a test module has imported the exporter; where another version of torch has no such table, it stays.
    """
    if "trainer.export.onnx_graph" not in sys.modules:
        return
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        return
    make = getattr(ONNXRegistry, "from_torchlib", None)
    if make is not None:
        ONNXRegistry.from_torchlib = staticmethod(functools.cache(make))  # type: ignore[method-assign]


GIVEN_BUNDLE = "EDGE_OCC_TEST_BUNDLE"
"""Environment variable: a bundle made by 'python tests/discs.py FILE', for where there is no torch to make one."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real images and videos beside the checkout, ``shared/data``; for tests marked ``data``."""
    for folder in Path(__file__).resolve().parents:
        data = folder / "shared" / "data"
        if data.is_dir():
            return data
    pytest.skip("no shared/data beside the checkout")


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled data set; not to be changed, copy it."""
    return make_data(tmp_path_factory.mktemp("tiny") / "discs")


Make = Callable[[Path], object]
Once = Callable[[str, Make], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Has a file or folder made, alone in a folder of its own, once for all processes of pytest-xdist."""
    workers = tmp_path_factory.getbasetemp()
    # The folders of the processes lie side by side.
    shared = (workers.parent if "PYTEST_XDIST_WORKER" in os.environ else workers) / "shared"

    def made(name: str, make: Make) -> Path:
        path = shared / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                make(path)
        return path

    return made


@pytest.fixture(scope="session")
def tiny_bundle(tiny_data: Path, once: Once) -> Path:
    """A bundle of an encoder that was hardly trained; its report lies beside it.  Not to be changed, copy it."""
    given = os.environ.get(GIVEN_BUNDLE)
    return Path(given) if given else once("bundle/discs.occ", lambda path: make_bundle(tiny_data, path))


@pytest.fixture(scope="session")
def right_precisions() -> tuple[str, ...]:
    """Precisions of the tiny bundle that ONNX Runtime certainly computes within the gate's tolerance here.

    1.23, the last one for Python 3.10, quantises fp16 by cutting digits off where it should round.  On Arm sums of fp16
    are rounded to fp16, which so poor an encoder magnifies beyond the tolerance, or not.
    """
    import onnxruntime

    if platform.machine() != "x86_64":
        return ("fp32",)
    old = tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24)
    return ("fp32", "fp16") if old else ("fp32", "fp16", "int8")


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Inspectors of tests leave nothing in the home of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("STATE_DIRECTORY", raising=False)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """One real broker for all tests that leave it alone."""
    mosquitto = Mosquitto(tmp_path_factory.mktemp("broker")).start()
    yield mosquitto
    mosquitto.stop()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker for a test that stops it."""
    mosquitto = Mosquitto(tmp_path).start()
    yield mosquitto
    mosquitto.stop()
