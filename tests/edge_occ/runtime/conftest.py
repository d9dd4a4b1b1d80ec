"""A bundle to be exchanged, and pictures to be inspected meanwhile."""

from __future__ import annotations

import shutil

import pytest
from discs import part, write


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    return shutil.copy(tiny_bundle, tmp_path / "line.occ")


@pytest.fixture
def pictures(tmp_path):
    for seed in range(3):
        write(tmp_path / "pictures" / f"{seed}.png", part(seed))
    return tmp_path / "pictures"
