"""What tests of the deployment share: its files, the tools that check them, and the variables that fill them."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from edge_occ.mqtt.broker import PASSWORD, USERNAME

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {"EDGE_OCC_DEVICE": "station-1", USERNAME: "line", PASSWORD: "p a$s 'word'"}


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def tool(name):
    """A program on the PATH, beside this Python, or a reason to skip."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=os.pathsep.join([str(beside), os.environ.get("PATH", ""), "/usr/sbin"]))
    return found or pytest.skip(f"no {name} here")


def compose():
    return yaml.safe_load(text("compose.yaml"))
