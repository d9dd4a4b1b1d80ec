"""The real data sets, where they are at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_images(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10 and Fashion-MNIST, in part, as ``unpack`` beside the real images writes them."""
    unpack = shared_data / "unpack"
    if not unpack.is_file():
        pytest.skip("no CIFAR-10 and Fashion-MNIST among the real images")
    folder = tmp_path_factory.mktemp("real")
    for name, place in (("cifar10", folder), ("fashion_mnist", folder / "fashion_mnist")):
        subprocess.run([sys.executable, str(unpack), name, str(place)], check=True, capture_output=True)
    return folder
