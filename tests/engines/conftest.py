"""A real bundle's graph, what ONNX Runtime makes of it, and a cache of its own for engines that are built."""

import pytest

from edge_occ.bundle.bundle import read_bundle
from engines.base import EngineOptions
from engines.onnxruntime import OnnxRuntimeEngine


@pytest.fixture(scope="session")
def bundle(tiny_bundle):
    return read_bundle(tiny_bundle)


@pytest.fixture
def graph(bundle):
    return bundle.graph()


@pytest.fixture(scope="session")
def reference(bundle):
    return OnnxRuntimeEngine(bundle.graph(), threads=1)


@pytest.fixture
def options(tmp_path):
    return EngineOptions(cache=tmp_path / "engines", frame=(112, 112), max_frame=(240, 320))
