"""The files of one inspector in the state folder, and a lock against a second inspector on the same topics."""

from __future__ import annotations

import re
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

from edge_occ.common.errors import InputError
from edge_occ.common.lock import Locked, locked
from edge_occ.common.state_folder import state_folder
from edge_occ.mqtt.config import MqttConfig


def state_file(config: MqttConfig, ending: str) -> Path:
    """Return a path that belongs to one inspector: to its topics at its broker.

    Raises:
        FileNotFoundError: no folder is set and the user has no home.
    """
    folder = config.state or state_folder()
    if folder is None:
        raise FileNotFoundError("no home folder")
    base = config.topics.base
    digest = sha256(f"{config.broker} {base}".encode()).hexdigest()[:12]
    return folder / (re.sub(r"[^A-Za-z0-9_-]+", "-", base)[-60:] + f"-{digest}{ending}")


def lock_inspector(config: MqttConfig, stack: ExitStack) -> None:
    """Lock the topics for this process until ``stack`` is closed; the folder is made if needed, for this user alone.

    Raises:
        InputError: another inspector of this machine publishes on the same topics.
        OSError: the folder cannot be written.
    """
    path = state_file(config, ".lock")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        stack.enter_context(locked(path))
    except Locked as error:
        raise InputError(
            f"one inspector for the topics {config.topics.base}/...",
            f"another one on this machine, process {error.process}",
            "give each camera a name: --set mqtt.camera=NAME",
        ) from None
