"""MQTT through outages: what a put costs, what a restarted broker loses, and what a frame waits for.

    PYTHONPATH=.:tests python benchmarks/mqtt_outages.py [puts] [restarts] [frames] [path=BUNDLE]

``puts``: time of ``put`` of the outbox, beside commits that wait for the disk.  ``restarts``: 10,000 events while a
real mosquitto is stopped and started again, or killed.  ``frames``: time in ``Publisher.publish``, each frame with an
event message, with a broker that answers, is away, slow, silent, or closes every connection.  ``path``: the same with
the whole way of a frame before it, through the engine of a bundle.  The tests' helpers control the brokers.  Without
arguments, all but the last.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Literal

from mqtt_helpers import Ear, Link, Mosquitto, free_port, inspection, payloads, render, tcp_server, wait_until, watched

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.operating_points import DecisionConfig, decide
from edge_occ.inspection.events import EventTracker, Phase
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.messages import event_message
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.publishing.event_store import EventStore, MemoryEventStore, QueuedEvent
from edge_occ.mqtt.publishing.sqlite_event_store import SqliteEventStore
from edge_occ.output.outlets import Outlets
from edge_occ.output.renderer import Renderer
from edge_occ.runtime.inspector import Inspector
from edge_occ.sources.frame import Frame

_BUDGET = 1_000_000_000
_ROUNDS, _FRAMES, _FRAME_SECONDS = 6, 500, 0.005
_EVENTS = 10_000
_SETTINGS: tuple[tuple[Literal[1, 2], int, float], ...] = ((1, 0, 0), (2, 60, 0), (1, 0, 30), (2, 60, 30))
"""``mqtt.event_qos``, ``mqtt.session_expiry`` and ``mqtt.repeat_seconds``."""


def frame_with_event(index: int) -> Inspection:
    """One message a frame; events of five."""
    step = index % 5
    phase = Phase.START if step == 0 else Phase.END if step == 4 else Phase.UPDATE
    return inspection(index, 2.0, event=phase, of=f"00000000-0000-0000-0000-{index - step:012}")


def quantiles(seconds: list[float]) -> str:
    """Return p50, p95, p99 and the largest, in microseconds."""
    ordered = sorted(seconds)
    picked = [ordered[int(q * len(ordered))] for q in (0.5, 0.95, 0.99)] + [ordered[-1]]
    return " ".join(f"{value * 1e6:8.0f}" for value in picked)


def time_puts(store: EventStore, count: int = 5000) -> list[float]:
    """Put 200 messages a second, while another thread sends, confirms and writes to the disk as the sender does."""
    done, times = threading.Event(), []

    def send() -> None:
        while not done.wait(0.02):
            store.sync()
            while (taken := store.take()) is not None:
                store.settle(taken)

    sender = threading.Thread(target=send)
    sender.start()
    for index in range(count):
        message = QueuedEvent.of(event_message(frame_with_event(index)), time.monotonic())
        start = time.perf_counter()
        store.put(message)
        times.append(time.perf_counter() - start)
        time.sleep(0.002)
    done.set()
    sender.join()
    return times


def time_commits(path: Path, synchronous: str, count: int = 1000) -> list[float]:
    """Bare commits of one row."""
    times = []
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {synchronous}")
        database.execute("CREATE TABLE row (seq INTEGER PRIMARY KEY, payload BLOB)")
        for _ in range(count):
            start = time.perf_counter()
            database.execute("INSERT INTO row (payload) VALUES (zeroblob(500))")
            times.append(time.perf_counter() - start)
    return times


def puts(folder: Path) -> None:
    """Print the time of a put."""
    print("\nput, microseconds                 p50      p95      p99      max")
    print(f"store in memory              {quantiles(time_puts(MemoryEventStore(_BUDGET)))}")
    store = SqliteEventStore(folder / "outbox", _BUDGET)
    print(f"outbox on disk               {quantiles(time_puts(store))}")
    store.close()
    for synchronous in ("NORMAL", "FULL"):
        times = time_commits(folder / synchronous, synchronous)
        print(f"bare commit, {synchronous:<6}          {quantiles(times)}")
    large = SqliteEventStore(folder / "large", _BUDGET)
    for index in range(20_000):
        large.put(QueuedEvent.of(event_message(frame_with_event(index)), 0.0))
        if index % 500 == 0:
            large.sync()
    counted, payload = large.size, len(event_message(frame_with_event(5)).to_json())
    large.close()
    on_disk = (folder / "large").stat().st_size
    print(f"file of 20,000 messages of {payload} bytes: {on_disk / 1e6:.1f} MB; counted as {counted / 1e6:.1f} MB")
    start = time.perf_counter()
    SqliteEventStore(folder / "large", _BUDGET).close()
    print(f"opening that file takes {time.perf_counter() - start:.2f} s")


def restarts(folder: Path, *, kill: bool, qos: Literal[1, 2], session: int, repeat: float) -> None:
    """Print what arrives of 10,000 events while the broker is restarted every 2,000.

    A killed broker has lost the subscription, too: the inspector comes back behind the subscriber.
    """
    stored = ["allow_anonymous true", "persistence true", f"persistence_location {folder}/", "max_queued_messages 0"]
    if kill:
        # Without a limit on messages in flight, a killed broker has handed all that it confirmed to the subscriber.
        stored.append("max_inflight_messages 0")
    broker = Mosquitto(folder, stored).start()
    start = time.monotonic()
    with (
        Link(broker.port) as link,
        watched(broker) as messages,
        Ear(broker.port, "edge-occ/#", lasting=True, qos=qos) as ear,
        Publisher(
            MqttConfig(
                broker=link.url,
                device="bench",
                state=folder,
                heatmap_hz=0,
                event_qos=qos,
                session_expiry=session,
                repeat_seconds=repeat,
            ),
            render,
        ) as publisher,
    ):
        for index in range(_EVENTS):
            publisher.publish(frame_with_event(index))
            if index % 2000 == 1000:
                broker.stop(kill=kill)
                link.hold()
            elif index % 2000 == 1500:
                broker.start()
                ear.wait_for_resubscription()
                link.release()
            time.sleep(0.001)
        wait_long(lambda: publisher.summary.published.get("event", 0) == _EVENTS)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: len({event["frame"] for event in payloads(ear.of("event"))}) == _EVENTS, "all events")
        events = payloads(ear.of("event"))
        seconds = time.monotonic() - start
        publisher.close()
        with contextlib.suppress(AssertionError):
            wait_until(lambda: len({event.frame for event in messages}) == _EVENTS, "all events in the watcher", 5)
    broker.stop()
    shown = [event.frame for event in messages]
    keys = [(event["id"], event["phase"], event["frame"]) for event in events]
    frames = [frame for _, _, frame in dict.fromkeys(keys)]
    print(
        f"QoS {qos}, session {session} s, repeat {repeat:g} s, broker {'killed' if kill else 'restarted'} 5 times: "
        f"{publisher.summary.published['event']} confirmed, {len(set(keys))} of {_EVENTS} arrived, "
        f"{len(keys) - len(set(keys))} repetitions, in order: {frames == sorted(frames)}, "
        f"historical: {sum(event['historical'] for event in events)}, dropped: {publisher.lost_events}, "
        f"{seconds:.0f} s; "
        f"Watcher: {len({*shown})} of {_EVENTS}, {len(shown) - len({*shown})} repetitions, "
        f"in order: {shown == sorted(shown)}"
    )


def wait_long(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait up to two minutes, or so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


@contextlib.contextmanager
def slow(broker: Mosquitto) -> Iterator[str]:
    """A link that carries data for 50 ms out of 500 ms."""
    done = threading.Event()
    with Link(broker.port) as link:

        def throttle() -> None:
            while not done.wait(0.45):
                link.release()
                done.wait(0.05)
                link.hold()
                link.hold_answers()
            link.release()

        thread = threading.Thread(target=throttle)
        thread.start()
        try:
            yield link.url
        finally:
            done.set()
            thread.join()


@contextlib.contextmanager
def away() -> Iterator[str]:
    """A port where nothing listens."""
    yield f"mqtt://127.0.0.1:{free_port()}"


def silent(peer: socket.socket) -> None:
    """Accept a connection and never answer."""
    while peer.recv(1000):
        pass


def inspected(bundle: Path) -> tuple[Callable[[int], Inspection], Renderer]:
    """Return what inspects a frame as ``run`` does, and makes every one part of an event; and its heatmaps."""
    read = read_bundle(bundle)
    decision = decide(read, DecisionConfig())
    inspector = Inspector(load_engine(read).engine, decision.threshold, EventTracker(), Outlets([]))
    picture = read.golden().frames[0]

    def inspect(index: int) -> Inspection:
        found = inspector.inspect(Frame(index, datetime.now(timezone.utc), time.monotonic(), picture))
        assert isinstance(found, Inspection), found
        return replace(found, event=frame_with_event(index).event)

    return inspect, Renderer(decision.reject.median, decision.reject.threshold, 1024)


def frames(
    folder: Path, inspect: Callable[[int], Inspection] | None = None, render: Callable[[Inspection], bytes] = render
) -> None:
    """Print the time in publish, in turns, so that all conditions have the same share of a busy machine.

    With ``inspect``, its time is added.
    """
    broker = Mosquitto(folder).start()
    conditions: dict[str, Callable[[], contextlib.AbstractContextManager[str]]] = {
        "answers": lambda: contextlib.nullcontext(broker.url),
        "is away": away,
        "is slow": lambda: slow(broker),
        "is silent": lambda: tcp_server(silent),
        "closes": lambda: tcp_server(lambda _: None),
    }
    walls: dict[str, list[list[float]]] = {name: [] for name in conditions}
    processors: dict[str, list[list[float]]] = {name: [] for name in conditions}
    for _ in range(_ROUNDS):
        for name, opened in conditions.items():
            with opened() as url:
                state = Path(tempfile.mkdtemp(dir=folder))
                config = MqttConfig(broker=url, device="bench", state=state, connect_timeout=0.5)
                with Publisher(config, render) as publisher:
                    wall, processor = time_frames(publisher, inspect)
                    publisher.close(0.1)
            walls[name].append(wall)
            processors[name].append(processor)
    broker.stop()
    what = "publish" if inspect is None else "inspect and publish"
    columns = "p50      p95      p99      max"
    print(f"\n{what}, microseconds     wall: {columns}   processor: {columns}")
    for name in conditions:
        wall, processor = (list(chain.from_iterable(times[name])) for times in (walls, processors))
        print(f"broker {name:<20} {quantiles(wall)}        {quantiles(processor)}")
    for what, times in (("wall", walls), ("processor", processors)):
        p95 = {
            name: statistics.median(sorted(run)[int(0.95 * len(run))] for run in runs) for name, runs in times.items()
        }
        print(what, "p95, median of the rounds, relative to a broker that answers:",
              ", ".join(f"{name} {value / p95['answers']:.2f}" for name, value in p95.items()))  # fmt: skip


def time_frames(publisher: Publisher, inspect: Callable[[int], Inspection] | None) -> tuple[list[float], list[float]]:
    """Return the wall time and the processor time of each call."""
    wall, processor = [], []
    for index in range(_FRAMES):
        frame = frame_with_event(index)
        start, used = time.perf_counter(), time.thread_time()
        publisher.publish(frame if inspect is None else inspect(index))
        processor.append(time.thread_time() - used)
        wall.append(time.perf_counter() - start)
        time.sleep(_FRAME_SECONDS)
    return wall, processor


def main() -> None:
    logging.disable(logging.WARNING)
    wanted = sys.argv[1:] or ["puts", "restarts", "frames"]
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, SQLite {sqlite3.sqlite_version}")
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            (Path(folder) / name.partition("=")[0]).mkdir()
        if "puts" in wanted:
            puts(Path(folder) / "puts")
        if "restarts" in wanted:
            for kill in (False, True):
                for qos, session, repeat in _SETTINGS:
                    own = Path(folder) / "restarts" / f"{kill}-{qos}-{repeat}"
                    own.mkdir()
                    restarts(own, kill=kill, qos=qos, session=session, repeat=repeat)
        if "frames" in wanted:
            frames(Path(folder) / "frames")
        for bundle in (name.removeprefix("path=") for name in wanted if name.startswith("path=")):
            frames(Path(folder) / "path", *inspected(Path(bundle)))


if __name__ == "__main__":
    main()
