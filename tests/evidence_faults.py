"""Checks of evidence on disk, and a process that is killed, or whose disk fails, at every step of a file system.

``python tests/evidence_faults.py exit|fail|kill FOLDER`` runs one of them and ends with status 0 if nothing was wrong.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mqtt_helpers import inspection, render

from edge_occ.common.clock import SystemClock
from edge_occ.inspection.events import Phase
from edge_occ.mqtt.topics import Origin
from edge_occ.output.evidence.config import EvidenceConfig
from edge_occ.output.evidence.ring import EvidenceRing
from edge_occ.output.evidence.store import EvidenceStore

MAX_BYTES = 9_000
"""Some two events of this file, so that each one makes room for itself."""
_OPERATIONS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir")
"""Audit events of Python that are raised before an operation of the file system."""

_KILLED, _NO_SUCH_STEP = 9, 7


def pieces(camera: Path) -> list[Path]:
    """Everything in the events of a camera, hidden things left out."""
    return sorted(path for path in camera.glob("[!.]*/[!.]*/*") if not path.name.startswith("."))


def size(folder: Path) -> int:
    """Bytes of all files below a folder, hidden ones too, without the lock."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def check_whole(camera: Path) -> int:
    """Check that everything that is named as evidence is whole and fits together; return the number of pieces."""
    for piece in pieces(camera):
        if piece.name == "end.json":
            assert json.loads(piece.read_bytes())["phase"] == "end"
            continue
        assert sorted(path.name for path in piece.iterdir()) == ["frame.png", "heatmap.jpg", "record.json"], piece
        record = json.loads((piece / "record.json").read_bytes())
        assert f"{record['phase'].replace('update', 'peak')}-{record['frame']:06}" == piece.name
        assert (piece / "heatmap.jpg").read_bytes().endswith(b"\xff\xd9")
        for name in ("frame.png", "heatmap.jpg"):
            data = np.frombuffer((piece / name).read_bytes(), np.uint8)
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
            assert picture is not None, piece / name
            assert (picture == record["frame"] % 256).all(), "the picture of another frame"
    return len(pieces(camera))


def check_reopened(camera: Path) -> None:
    """Check that an inspector that starts counts what is there and removes leftovers."""
    with EvidenceRing(camera, MAX_BYTES, timedelta(days=1)) as ring:
        assert ring.total_bytes == size(camera) <= MAX_BYTES
        assert [path.name for path in camera.iterdir() if path.name.startswith(".")] == [".lock"]
        assert all((camera / event).is_dir() and any((camera / event).iterdir()) for event in ring.events)
    check_whole(camera)


class SmallConfig(EvidenceConfig):
    """A limit of less than a megabyte."""

    @property
    def max_bytes(self) -> int:
        """:data:`MAX_BYTES`."""
        return MAX_BYTES


class Hurry(SystemClock):
    """A clock by which every pause is over."""

    def monotonic(self) -> float:
        """Microseconds in place of seconds."""
        return time.perf_counter() * 1e6


def store(folder: Path) -> EvidenceStore:
    """A store with a small limit, which tries again at once after a failure."""
    return EvidenceStore(folder, SmallConfig(), Origin("d", "left"), render, clock=Hurry())


def keep_events(store: EvidenceStore, first: int, count: int) -> None:
    """Publish events of a start, two peaks and an end each, and have them written."""
    with store:
        for number in range(first, first + count):
            for step, phase in enumerate((Phase.START, Phase.UPDATE, Phase.UPDATE, Phase.END)):
                store.publish(inspection(10 * number + step, 2.0, event=phase, of=f"e{number}"))
                while store.waiting:
                    time.sleep(0.0001)


def forked(action: Callable[[], object]) -> int:
    """Run something in a child, and return the child's number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        action()
        status = 0
    finally:
        os._exit(status)


class Mishap:
    """An audit hook: something that happens before one operation on a folder."""

    def __init__(self, folder: Path, step: int, happen: Callable[[], object]) -> None:
        self._folder, self._step, self._happen = str(folder), step, happen
        self.steps = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count an operation, and have the mishap if it is its time."""
        if event in _OPERATIONS and self._folder in str(arguments[0]):
            self.steps += 1
            if self.steps == self._step:
                self._happen()


def keep_until(folder: Path, step: int, happen: Callable[[], object]) -> None:
    """Keep two events, with a mishap at a step; end with :data:`_NO_SUCH_STEP` if there are fewer."""
    mishap = Mishap(folder, step, happen)
    sys.addaudithook(mishap)
    keep_events(store(folder), 10 * step, 2)
    if mishap.steps < step:
        os._exit(_NO_SUCH_STEP)


def at_every_step(folder: Path, happen: Callable[[], object]) -> int:
    """Have a mishap at every step in turn, each in a process of its own, and return how many steps there were."""
    step, code = 0, 0
    while code != _NO_SUCH_STEP:
        step += 1
        _, status = os.waitpid(forked(partial(keep_until, folder, step, happen)), 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, _KILLED, _NO_SUCH_STEP), code
        check_whole(folder / "left")
        assert size(folder) <= MAX_BYTES
        check_reopened(folder / "left")
    return step - 1


def exit_at_every_step(folder: Path) -> int:
    """Die at every step."""
    return at_every_step(folder, lambda: os._exit(_KILLED))


def fail_at_every_step(folder: Path) -> int:
    """Fill the disk at every step."""

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return at_every_step(folder, full)


def kill_at_random(folder: Path, rounds: int = 50) -> int:
    """Kill a process that writes, at random times; return the pieces seen whole."""
    seen = 0
    draw = random.Random(7)
    for number in range(rounds):
        child = forked(partial(keep_events, store(folder), 1000 * number, 1000))
        time.sleep(draw.uniform(0, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen += check_whole(folder / "left")
        assert size(folder) <= MAX_BYTES
        if draw.random() < 0.5:  # otherwise the next inspector finds the leftovers
            check_reopened(folder / "left")
    return seen


MODES: dict[str, Callable[[Path], int]] = {
    "exit": exit_at_every_step,
    "fail": fail_at_every_step,
    "kill": kill_at_random,
}

if __name__ == "__main__":
    print(MODES[sys.argv[1]](Path(sys.argv[2])))
