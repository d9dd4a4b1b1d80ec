"""Provenance of a figure: code, machine and date."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

import onnxruntime
import torch
from pydantic import BaseModel, ConfigDict

from edge_occ import __version__
from trainer.pretrain.processes import choose_device


class Provenance(BaseModel):
    """The code, machine and date behind a figure.

    Attributes:
        date: UTC, to the second.
        commit: commit of the checkout, with ``+`` if files differ from it; the version if there is no checkout.
        hardware: processor, number of torch's threads, GPU if used.
        software: versions of Python, torch and ONNX Runtime.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    date: str
    commit: str
    hardware: str
    software: str


def provenance(device: str) -> Provenance:
    """Return the provenance of a figure measured now.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``, as given to the training.

    Raises:
        InputError: the device is unknown or not present.
    """
    parts = [_processor(), f"{torch.get_num_threads()} of {os.cpu_count()} threads"]
    if choose_device(device).type == "cuda":
        parts.append(torch.cuda.get_device_name())
    versions = {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "ONNX Runtime": onnxruntime.__version__,
    }
    return Provenance(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        commit=_commit(),
        hardware=", ".join(parts),
        software=", ".join(f"{name} {version}" for name, version in versions.items()),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


@cache
def _commit() -> str:
    """Return the commit, read once, because the code of a process does not change."""
    root = Path(__file__).parents[2]
    version = f"edge-occ {__version__}"
    if not (root / ".git").exists():
        return version
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return version
    return head + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()
