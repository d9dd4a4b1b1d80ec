"""The outbox: what a run leaves to the next one, disks that are full or fail, files that are damaged, and the lock."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqtt_helpers import Ear, Link, Mosquitto, free_port, inspection, render, wait_until

from edge_occ.common.clock import ManualClock
from edge_occ.inspection.events import Phase
from edge_occ.mqtt.messages import event_message
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.publishing.event_store import QueuedEvent
from edge_occ.mqtt.publishing.inspector_lock import state_file
from edge_occ.mqtt.publishing.outbox import Outbox
from edge_occ.mqtt.publishing.sqlite_event_store import SqliteEventStore

SCRIPT = """
import sys
from pathlib import Path
from mqtt_helpers import inspection, render, wait_until
from edge_occ.inspection.events import Phase
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.publisher import Publisher
config = MqttConfig.model_validate_json(sys.argv[1])
with Publisher(config, render) as publisher:
    publisher.publish(inspection(3, 2.5, event=Phase.START, of="interrupted-event"))
    publisher.publish(inspection(4, 2.0, event=Phase.START, of="ended"))
    publisher.publish(inspection(5, 2.0, event=Phase.END, of="ended"))
    wait_until(lambda: publisher.summary.published.get("event") == 3, "the events")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def own(config, tmp_path):
    """An inspector with its own folder."""
    return config.model_copy(update={"state": tmp_path / "state"})


def queued(identifier: str, phase: Phase, frame: int = 0, captured: float = 0.0) -> QueuedEvent:
    return QueuedEvent.of(event_message(inspection(frame, 2.0, event=phase, of=identifier)), captured)


def events(ear: Ear) -> list[tuple[str, str, bool, str | None]]:
    contents = [json.loads(bytes(message.payload)) for message in ear.of("event")]
    return [(event["id"], event["phase"], event["historical"], event["reason"]) for event in contents]


def kill_in_an_event(config) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["tests", *sys.path])}
    command = [sys.executable, "-c", SCRIPT, config.model_dump_json()]
    folder = Path(__file__).parents[4]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=folder
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.kill()


def test_an_event_interrupted_by_a_kill_is_ended_first_at_the_next_start_and_once(own, ear):
    kill_in_an_event(own)
    ear.wait_for_state("offline")
    before = len(ear.heard)
    with Publisher(own, render) as publisher:
        publisher.publish(inspection(0, 2.0, event=Phase.START, of="new"))
        publisher.publish(inspection(1, 0.5, event=Phase.END, of="new"))
    ear.wait_for_state("offline", 2)
    assert events(ear)[3:] == [
        ("interrupted-event", "end", True, "interrupted"), ("new", "start", False, None), ("new", "end", False, None)
    ]  # fmt: skip
    (end,) = [m for m in ear.heard[before:] if b"interrupted" in bytes(m.payload)]
    assert json.loads(bytes(end.payload))["frame"] == 3
    assert json.loads(bytes(end.payload))["peak"] == 2.5
    with Publisher(own, render):
        pass
    ear.wait_for_state("offline", 3)
    assert len(events(ear)) == 6


def test_an_end_that_was_not_delivered_is_sent_by_the_next_run(broker, own, ear):
    with Link(broker.port) as link:
        own = own.model_copy(update={"broker": link.url})
        with Publisher(own, render) as publisher:
            publisher.publish(inspection(0, 2.0, event=Phase.START, of="a"))
            wait_until(lambda: publisher.summary.published.get("event") == 1, "the start")
            link.hold()
            publisher.publish(inspection(1, 0.5, event=Phase.END, of="a"))
            publisher.close(0.2)
            assert publisher.lost_events == 0
            count, file = publisher.kept_events
            assert (count, file.parent) == (1, own.state)
            link.cut()
        link.release()
        with Publisher(own, render) as publisher:
            pass
        assert publisher.kept_events[0] == 0
        ear.wait_for_kind("event", 2)
    assert events(ear) == [("a", "start", False, None), ("a", "end", True, None)]


def test_an_event_whose_start_was_not_sent_is_sent_whole_by_the_next_run(own_broker: Mosquitto, own):
    own = own.model_copy(update={"broker": own_broker.url})
    with Publisher(own, render) as publisher:
        wait_until(lambda: publisher.summary.published.get("stats") == 1, "the link to be idle")
        own_broker.stop()
        publisher.publish(inspection(0, 2.0))
        wait_until(lambda: publisher.summary.dropped.get("score") == 1, "the connection to be lost")
        publisher.publish(inspection(1, 2.0, event=Phase.START, of="a"))
        publisher.publish(inspection(2, 2.5, event=Phase.UPDATE, of="a"))
        publisher.close(0.2)
    own_broker.start()
    with Ear(own_broker.port, f"{own.prefix}/#") as ear:
        with Publisher(own, render):
            pass
        ear.wait_for_state("offline")
        assert events(ear) == [
            ("a", "start", True, None), ("a", "update", True, None), ("a", "end", True, "interrupted")
        ]  # fmt: skip
        assert json.loads(bytes(ear.of("event")[-1].payload))["frame"] == 2


def kept(own, count: int = 4) -> Path:
    """Leave events in the outbox of an inspector without a broker, and return the file."""
    with Publisher(own.model_copy(update={"broker": own.broker}), render) as publisher:
        for frame in range(count):
            publisher.publish(inspection(frame, 2.0, event=Phase.UPDATE, of="a"))
        publisher.close(0.1)
    number, file = publisher.kept_events
    assert number == count
    return file


@pytest.fixture
def silent(own):
    """An inspector whose broker does not answer."""
    return own.model_copy(update={"broker": f"mqtt://127.0.0.1:{free_port()}"})


def test_the_next_run_goes_on_with_what_the_last_ones_have_left(silent):
    kept(silent, 3)
    with Publisher(silent, render) as publisher:
        publisher.publish(inspection(9, 2.0, event=Phase.UPDATE, of="b"))
        publisher.close(0.1)
    assert publisher.kept_events[0] == 4
    store = SqliteEventStore(publisher.kept_events[1], 10_000)
    assert [event.message.frame for event in iter(store.take, None)] == [0, 1, 2, 9]
    store.close()


def test_a_second_next_run_does_not_end_an_interrupted_event_again(tmp_path):
    store = SqliteEventStore(tmp_path / "outbox", 100_000)
    store.put(queued("a", Phase.START, 0))
    store.put(queued("b", Phase.START, 1))
    store.put(queued("b", Phase.END, 2))
    store.close()
    for _ in range(2):
        store = SqliteEventStore(tmp_path / "outbox", 100_000)
        messages = [event.message for event in iter(store.take, None)]
        store.close()
        assert [(message.id, message.phase) for message in messages] == [
            ("a", Phase.START), ("b", Phase.START), ("b", Phase.END), ("a", Phase.END)
        ]  # fmt: skip
        assert [message.reason for message in messages] == [None] * 3 + ["interrupted"]


def test_the_age_of_what_an_earlier_run_has_left_is_that_since_its_capture(tmp_path):
    """The monotonic clock of another boot has another origin."""
    clock = ManualClock()
    clock.advance(500)
    store = SqliteEventStore(tmp_path / "outbox", 100_000, clock=clock)
    store.put(queued("a", Phase.UPDATE, captured=clock.monotonic()))
    store.close()
    later = ManualClock(clock.now())
    later.advance(100)
    store = SqliteEventStore(tmp_path / "outbox", 100_000, clock=later)
    assert store.age(later.monotonic()) == pytest.approx(100, abs=1e-3)
    assert store.take().historical
    store.close()


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def garbage(file: Path) -> None:
    file.write_bytes(random.Random(5).randbytes(50_000))


def of_another_program(file: Path) -> None:
    file.unlink()
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        other.execute("CREATE TABLE outbox (seq INTEGER PRIMARY KEY, payload TEXT)")


def of_another_version(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        other.execute("CREATE TRIGGER more AFTER INSERT ON outbox BEGIN DELETE FROM outbox; END")


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "something").touch()


def a_flipped_page(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096:8192] = bytes(4096)
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [truncated, garbage, of_another_program, of_another_version, a_folder, a_flipped_page]
)
def test_a_file_that_is_no_outbox_is_kept_under_another_name_and_a_new_one_is_begun(silent, caplog, damage):
    file = kept(silent, 60)
    damage(file)
    before = None if file.is_dir() else file.read_bytes()
    assert kept(silent, 3) == file
    (damaged,) = (found for found in file.parent.glob("*.damaged-*") if not found.name.endswith(("-wal", "-shm")))
    assert str(damaged) in caplog.text
    assert (damaged / "something").exists() if before is None else damaged.read_bytes() == before
    store = SqliteEventStore(file, 10_000)
    assert store.depth == 3
    store.close()


def test_only_the_latest_damaged_files_are_kept(silent):
    file = kept(silent)
    for number in range(5):
        file.write_bytes(b"damaged %d" % number * 100)
        kept(silent)
    assert [found.read_bytes()[:9] for found in sorted(file.parent.glob("*.damaged-*"))] == [
        b"damaged 2", b"damaged 3", b"damaged 4"
    ]  # fmt: skip


def test_an_empty_file_is_an_empty_outbox(silent):
    file = kept(silent)
    file.write_bytes(b"")
    kept(silent)
    assert not list(file.parent.glob("*.damaged-*"))


def test_a_message_that_is_damaged_is_logged_and_left_out(own, silent, ear, caplog):
    file = kept(silent)
    with contextlib.closing(sqlite3.connect(file)) as other, other:
        other.execute("UPDATE outbox SET payload = CAST('{\"id\": 1}' AS BLOB) WHERE seq = 2")
    file.rename(str(file).replace(file.name, state_file(own, ".outbox.sqlite").name))
    with Publisher(own, render) as publisher:
        pass
    ear.wait_for_state("offline")
    assert [json.loads(bytes(message.payload))["frame"] for message in ear.of("event")] == [0, 2, 3]
    assert publisher.lost_events == 1
    assert "is damaged" in caplog.text


def test_a_file_that_is_damaged_during_the_run_is_replaced(silent, caplog):
    with Outbox(silent) as outbox:
        for frame in range(200):
            outbox.put(queued("a", Phase.UPDATE, frame))
        with contextlib.closing(sqlite3.connect(outbox.path)) as other, other:
            other.execute("UPDATE outbox SET phase = 'none' WHERE seq = 2")
        assert outbox.take().message.frame == 0
        assert outbox.take() is None
        assert outbox.dropped == 200
        outbox.sync()
        outbox.put(queued("b", Phase.UPDATE, 7))
        outbox.sync()
        assert outbox.take().message.frame == 7
    assert outbox.kept == 1
    assert "damaged-" in caplog.text


@contextlib.contextmanager
def full_disk(file: Path) -> Iterator[None]:
    """No file may grow beyond the present size of the outbox's log: the system's own limit."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = file.with_name(file.name + "-wal").stat().st_size
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_while_the_disk_is_full_messages_wait_in_memory_and_move_to_disk_afterwards(silent, caplog):
    reported: list[int] = []
    with Outbox(silent, reported.append) as outbox:
        for frame in range(3):
            outbox.put(queued("a", Phase.UPDATE, frame))
        with full_disk(outbox.path):
            for frame in range(3, 10):
                outbox.put(queued("a", Phase.UPDATE, frame))
            outbox.sync()
            assert outbox.failed == 7
            assert outbox.depth == 10
            assert "event messages wait in memory" in caplog.text
            # What is on disk is sent and confirmed meanwhile, although no deletion can be written.
            for frame in range(5):
                taken = outbox.take()
                assert taken.message.frame == frame
                outbox.settle(taken)
            in_flight = outbox.take()
            outbox.give_back()
            assert outbox.take().message.frame == in_flight.message.frame == 5
        outbox.sync()  # with 5 in flight
        outbox.put(queued("a", Phase.UPDATE, 10))
        outbox.give_back()
        outbox.sync()
        failed = outbox.failed
        outbox.put(queued("a", Phase.UPDATE, 11))
        assert outbox.failed == failed
        assert outbox.depth == 7
    assert outbox.kept == 7
    assert reported == []
    store = SqliteEventStore(outbox.path, 100_000)
    assert [event.message.frame for event in iter(store.take, None)] == list(range(5, 12))
    store.close()


def test_memory_has_a_budget_too_while_the_disk_is_full(silent):
    small = silent.model_copy(update={"outbox_mb": 0.02})
    with Outbox(small) as outbox:
        outbox.put(queued("a", Phase.UPDATE))
        with full_disk(outbox.path):
            for frame in range(200):
                outbox.put(queued("a", Phase.UPDATE, frame))
            assert outbox.size <= 2 * 20_000
            assert outbox.depth + outbox.dropped == 201


def test_a_full_disk_is_counted_in_the_statistics(own, ear, caplog):
    own = own.model_copy(update={"stats_seconds": 0.05})
    with Publisher(own, render) as publisher:
        wait_until(lambda: publisher.summary.published.get("stats", 0) >= 1, "the link to be idle")
        (file,) = own.state.glob("*.sqlite")
        with full_disk(file):
            for frame in range(30):
                publisher.publish(inspection(frame, 2.0, event=Phase.UPDATE, of="a"))
            wait_until(lambda: publisher.summary.published.get("event") == 30, "the events to arrive")
        sent = publisher.summary.published["stats"]
        wait_until(lambda: publisher.summary.published["stats"] >= sent + 2, "statistics of all that")
    ear.wait_for_state("offline")
    last = json.loads(bytes(ear.of("stats")[-1].payload))
    assert 0 < last["outbox_failed"] <= 30
    assert (last["outbox_bytes"], last["events_dropped"], last["queue_event_depth"]) == (0, 0, 0)
    assert [json.loads(bytes(message.payload))["frame"] for message in ear.of("event")] == list(range(30))


def test_without_a_writable_folder_the_inspector_runs(config, ear, tmp_path, caplog):
    (tmp_path / "file").touch()
    with Publisher(config.model_copy(update={"state": tmp_path / "file" / "state"}), render) as publisher:
        publisher.publish(inspection(0, 2.0, event=Phase.START, of="a"))
    ear.wait_for_kind("event")
    assert "mqtt.state" in caplog.text


def test_the_folder_is_for_its_user_alone(own):
    with Publisher(own, render):
        assert own.state.stat().st_mode & 0o077 == 0
        assert {file.stat().st_mode & 0o077 for file in own.state.iterdir()} == {0}
        assert len(list(own.state.iterdir())) == 4  # lock, outbox, and its log and index
