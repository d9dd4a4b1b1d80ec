"""Signs of life: their receivers, and files that are left alone."""

import os
import socket
from datetime import datetime, timezone

import pytest

from edge_occ.common.clock import ManualClock
from edge_occ.common.errors import InputError
from edge_occ.runtime.heartbeat import FILE, SECONDS, Heartbeat, HeartbeatFile, heartbeat_from_environment
from edge_occ.runtime.systemd import SOCKET
from edge_occ.sources.faults import Fault, Reason, Unscored


@pytest.fixture(autouse=True)
def _nobody_listens(monkeypatch):
    for name in (FILE, SECONDS, SOCKET):
        monkeypatch.delenv(name, raising=False)


def test_signs_are_given_at_most_once_a_second():
    given, clock = [], ManualClock()
    heartbeat = Heartbeat([lambda: given.append(clock.monotonic())], clock=clock)
    for _ in range(12):
        heartbeat.publish(None)
        clock.advance(0.25)
    assert given == [0.0, 1.0, 2.0]


def test_the_file_is_as_old_as_the_last_sign(tmp_path):
    path = tmp_path / "alive"
    beat = HeartbeatFile(path)
    assert not path.exists()
    beat()
    os.utime(path, (0, 0))
    beat()
    assert path.stat().st_mtime > 0
    beat.close()
    assert path.exists()


def test_a_file_of_an_earlier_run_does_not_count_for_this_one(tmp_path):
    HeartbeatFile(tmp_path / "alive")()
    HeartbeatFile(tmp_path / "alive")
    assert not (tmp_path / "alive").exists()


def test_what_it_did_not_make_is_left_as_it_is(tmp_path):
    full, empty, longer = tmp_path / "notes.txt", tmp_path / "empty", tmp_path / "longer"
    full.write_text("do not lose this")
    empty.touch()
    HeartbeatFile(longer)()
    longer.write_bytes(longer.read_bytes() + b"and notes of somebody")
    link, folder, fifo = tmp_path / "link", tmp_path / "folder", tmp_path / "fifo"
    link.symlink_to(full)
    folder.mkdir()
    os.mkfifo(fifo)
    for path in (full, empty, longer):
        os.utime(path, (1000, 1000))
    before = {path: path.lstat() for path in tmp_path.iterdir()}
    for path in before:
        with pytest.raises(InputError, match="which edge-occ did not make"):
            HeartbeatFile(path)
    after = {path: path.lstat() for path in tmp_path.iterdir()}
    assert {path: (s.st_ino, s.st_size, s.st_mtime) for path, s in after.items()} == {
        path: (s.st_ino, s.st_size, s.st_mtime) for path, s in before.items()
    }
    assert full.read_text() == "do not lose this"


def test_a_file_that_was_put_in_its_place_is_left_as_it_is(tmp_path):
    path = tmp_path / "alive"
    beat = HeartbeatFile(path)
    beat()
    path.unlink()
    path.write_text("somebody's")
    os.utime(path, (1000, 1000))
    beat()
    assert (path.read_text(), path.stat().st_mtime) == ("somebody's", 1000)
    path.unlink()
    beat()
    assert path.stat().st_mtime > 1000


def test_a_folder_that_is_missing_is_an_error_at_the_start_and_ignored_later(tmp_path):
    with pytest.raises(InputError, match="that can be written"):
        HeartbeatFile(tmp_path / "missing" / "alive")
    folder = tmp_path / "folder"
    folder.mkdir()
    beat = HeartbeatFile(folder / "alive")
    folder.rmdir()
    beat()


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_notified_that_the_unit_is_ready_with_the_first_frame_and_then_that_it_is_alive(
    tmp_path, monkeypatch, abstract
):
    name = f"edge-occ-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}" if abstract else name)
        systemd.settimeout(10)
        monkeypatch.setenv(SOCKET, f"@{name}" if abstract else name)
        clock = ManualClock()
        heartbeat = heartbeat_from_environment(clock)
        for pause in (0.5, 0.5, 1.0, 0.0):
            heartbeat.publish(None)
            clock.advance(pause)
        heard = [systemd.recv(100) for _ in range(3)]
        assert heard == [b"READY=1\nWATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        systemd.setblocking(False)
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


def test_a_systemd_that_does_not_listen_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(SOCKET, str(tmp_path / "nobody"))
    heartbeat_from_environment().publish(None)


def test_the_environment_asks_for_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv(FILE, str(tmp_path / "alive"))
    with heartbeat_from_environment() as heartbeat:
        heartbeat.publish(None)
    assert (tmp_path / "alive").exists()


@pytest.mark.parametrize("text", ["soon", "-1", "0.5", "nan", "inf"])
def test_a_watchdog_needs_seconds(monkeypatch, text):
    monkeypatch.setenv(SECONDS, text)
    with pytest.raises(InputError, match="seconds"):
        heartbeat_from_environment()


def test_frames_that_a_guard_finds_are_signs_of_life_and_other_faults_are_none():
    """A covered camera does not end a run; one whose frames cannot be scored is what the watchdog is for."""
    given, clock, current = [], ManualClock(), [Reason.FRAME]
    heartbeat = Heartbeat([lambda: given.append(current[0].value)], clock=clock)
    for reason in Reason:
        clock.advance(1)
        current[0] = reason
        heartbeat.fault(Fault(0, datetime.now(timezone.utc), Unscored(reason, "words")))
    assert given == [
        *("black", "white", "uniform", "grey", "torn", "blurred", "exposure", "size", "repeated", "frozen"),
        *("no part", "part too small", "several parts", "part at the edge", "part too large", "direction undecided"),
    ]
