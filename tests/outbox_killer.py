"""Kills writers of one outbox file again and again, and records what they had put and what was delivered.

A program of its own, because it forks: ``python tests/outbox_killer.py FILE KILLS SEED`` prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from mqtt_helpers import inspection

from edge_occ.inspection.events import EventChange, Phase
from edge_occ.mqtt.messages import event_message
from edge_occ.mqtt.publishing.event_store import QueuedEvent
from edge_occ.mqtt.publishing.sqlite_event_store import SqliteEventStore

_BUDGET = 1_000_000_000
_MAX_LIFE = 0.04
"""Seconds from the start, or for every other writer from its first message."""


def _messages(first: int) -> Iterator[QueuedEvent]:
    """Events of four messages each; the frame is the number of the message."""
    for frame in count(first):
        step = (frame - first) % 4
        phase = (Phase.START, Phase.UPDATE, Phase.UPDATE, Phase.END)[step]
        change = EventChange(f"event-{frame - step}", phase, 2.0, 1 + step)
        yield QueuedEvent.of(event_message(replace(inspection(frame, 2.0), event=change)), time.monotonic())


def _write(path: Path, first: int, pipe: int, chance: random.Random) -> None:
    """Put messages and deliver some, until killed; a line in the pipe for each put that returned and each delivery."""
    store = SqliteEventStore(path, _BUDGET)
    for message in _messages(first):
        store.put(message)
        os.write(pipe, f"put {_key(message)}\n".encode())
        if chance.random() < 0.02:
            store.sync()
        for _ in range(chance.choice([0, 0, 1, 2])):
            if (taken := store.take()) is not None:
                os.write(pipe, f"sent {_key(taken)}\n".encode())
                if chance.random() < 0.8:
                    store.settle(taken)
                else:
                    store.give_back()


def _key(event: QueuedEvent) -> str:
    return f"{event.id} {event.phase.value} {event.message.frame}"


def _life(path: Path, first: int, chance: random.Random, *, wait: bool) -> bytes:
    """Run a writer in a child, kill it at a random moment, after its first message if ``wait``; return its lines."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            _write(path, first, writer, random.Random(first))
        finally:
            os._exit(1)
    os.close(writer)
    os.set_blocking(reader, False)
    lines = bytearray()
    while wait and not lines:
        _read(reader, lines)
        time.sleep(0.0005)
    end = time.monotonic() + chance.uniform(0, _MAX_LIFE)
    while time.monotonic() < end:  # a full pipe would stop the child
        _read(reader, lines)
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the writer ended by itself"
    os.set_blocking(reader, True)
    with os.fdopen(reader, "rb") as rest:
        lines += rest.read()
    return bytes(lines)


def _read(reader: int, lines: bytearray) -> None:
    try:
        lines += os.read(reader, 65536)
    except BlockingIOError:
        return


def main(path: Path, kills: int, seed: int) -> None:
    """Kill ``kills`` writers, deliver what is left, and print what was ``put`` and ``sent``, in order."""
    chance = random.Random(seed)
    lives = (_life(path, 1_000_000 * number, chance, wait=number % 2 == 1) for number in range(kills))
    lines = b"".join(lives).decode().splitlines()
    store = SqliteEventStore(path, _BUDGET)
    while (taken := store.take()) is not None:
        lines.append(f"sent {_key(taken)}")
        store.settle(taken)
    left = store.close()
    keys = {word: [line.split(" ", 1)[1] for line in lines if line.startswith(f"{word} ")] for word in ("put", "sent")}
    print(json.dumps({**keys, "left": left}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
