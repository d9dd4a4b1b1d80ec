"""The lock, and events interrupted by a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mqtt_helpers import Ear, Link, Mosquitto, inspection, render, wait_until

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.publisher import Publisher

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


def test_an_end_that_was_not_delivered_is_sent_at_the_next_start(broker, own, ear):
    with Link(broker.port) as link:
        with Publisher(own.model_copy(update={"broker": link.url}), render) as publisher:
            publisher.publish(inspection(0, 2.0, event=Phase.START, of="a"))
            wait_until(lambda: publisher.summary.published.get("event") == 1, "the start")
            link.hold()
            publisher.publish(inspection(1, 0.5, event=Phase.END, of="a"))
            publisher.close(0.2)
            assert publisher.lost_events == 1
            link.cut()
        link.release()
        with Publisher(own.model_copy(update={"broker": link.url}), render):
            pass
        ear.wait_for_kind("event", 2)
    assert events(ear) == [("a", "start", False, None), ("a", "end", True, "interrupted")]


def test_an_event_whose_start_was_not_sent_gets_no_end(own_broker: Mosquitto, own):
    own = own.model_copy(update={"broker": own_broker.url})
    with Publisher(own, render) as publisher:
        wait_until(lambda: publisher.summary.published.get("stats") == 1, "the link to be idle")
        own_broker.stop()
        publisher.publish(inspection(0, 2.0))
        wait_until(lambda: publisher.summary.dropped.get("score") == 1, "the connection to be lost")
        publisher.publish(inspection(1, 2.0, event=Phase.START, of="a"))
        publisher.close(0.2)
    own_broker.start()
    with Ear(own_broker.port, f"{own.prefix}/#") as ear:
        with Publisher(own, render):
            pass
        ear.wait_for_state("offline")
        assert events(ear) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 2_000_000, b'{"schema":"edge-occ/open-events/2"}'])
def test_a_damaged_journal_is_logged_and_ignored(own, ear, caplog, content):
    with Publisher(own, render) as publisher:
        publisher.publish(inspection(0, 2.0, event=Phase.START, of="a"))
        wait_until(lambda: publisher.summary.published.get("event") == 1, "the start")
        (file,) = own.state.glob("*.events.json")
    file.write_bytes(content)
    with Publisher(own, render):
        pass
    ear.wait_for_state("offline", 2)
    assert events(ear) == [("a", "start", False, None)]
    assert "damaged" in caplog.text


def test_without_a_writable_folder_the_inspector_runs(config, ear, tmp_path, caplog):
    (tmp_path / "file").touch()
    with Publisher(config.model_copy(update={"state": tmp_path / "file" / "state"}), render) as publisher:
        publisher.publish(inspection(0, 2.0, event=Phase.START, of="a"))
    ear.wait_for_kind("event")
    assert "mqtt.state" in caplog.text


def test_without_a_journal_that_can_be_written_events_are_sent(own, ear, caplog):
    with Publisher(own, render) as publisher:
        own.state.rename(own.state.with_name("gone"))
        own.state.touch()  # a file where the folder was: nothing can be written below it
        publisher.publish(inspection(0, 2.0, event=Phase.START, of="a"))
        publisher.publish(inspection(1, 0.5, event=Phase.END, of="a"))
    ear.wait_for_state("offline")
    assert events(ear) == [("a", "start", False, None), ("a", "end", False, None)]
    assert "cannot be written" in caplog.text


def test_the_folder_is_for_its_user_alone(own):
    with Publisher(own, render):
        assert own.state.stat().st_mode & 0o077 == 0
        assert [file.stat().st_mode & 0o077 for file in own.state.glob("*.lock")] == [0]
