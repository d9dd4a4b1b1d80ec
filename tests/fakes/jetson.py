"""A machine with a GPU and TensorRT, both fakes that compute, and what its engine is compared with."""

import sys
from contextlib import contextmanager

import numpy as np
import pytest

from fakes.install import installed
from fakes.tensorrt import FakeTensorRT

VERSIONS = ("10.3.0", "10.16.1.11", "11.4.0.106")


@contextmanager
def machine(version="10.3.0", failures=None, **options):
    """A machine with a GPU and this TensorRT; at the end nothing of either may be left."""
    fake = FakeTensorRT(version, **(failures or {}))
    with pytest.MonkeyPatch.context() as patch, installed(**options) as gpu:
        patch.setitem(sys.modules, "tensorrt", fake.module)
        yield fake, gpu
        assert not fake.alive


def frame_of(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def assert_same(engine, reference, frame):
    found, expected = engine.infer(frame), reference.infer(frame)
    assert found.score == expected.score
    np.testing.assert_array_equal(found.map, expected.map)
    return found
