"""Packages of Node.js for tests that use them: Node-RED, schemas of AsyncAPI and Grafana."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NODE_MODULES = "EDGE_OCC_NODE_MODULES"
"""Environment variable: the node_modules of 'npm install node-red @flowfuse/node-red-dashboard @asyncapi/specs
@grafana/schema typescript'."""


def node_module(name: str) -> Path:
    """The folder of an installed package; skips the test where it is not installed."""
    given = os.environ.get(NODE_MODULES)
    if not given:
        pytest.skip(f"{NODE_MODULES} is not set: a folder node_modules with {name}")
    folder = Path(given) / name
    if not folder.is_dir():
        pytest.skip(f"no {name} in {given}")
    return folder
