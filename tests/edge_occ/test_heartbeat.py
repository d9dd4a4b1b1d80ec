import os

import pytest

from edge_occ.errors import InputError
from edge_occ.heartbeat import VARIABLE, Heartbeat, heartbeat_from_environment


def test_touches_the_file_at_most_once_a_second(tmp_path):
    file, now = tmp_path / "alive", [100.0]
    heartbeat = Heartbeat(file, clock=lambda: now[0])
    touched = []
    for step in range(30):
        now[0] = 100.0 + step / 10
        if file.exists():
            os.utime(file, (0, 0))
        heartbeat.publish(None)
        touched.append(file.stat().st_mtime > 0)
    assert [step for step, there in enumerate(touched) if there] == [0, 10, 20]


def test_a_file_of_an_earlier_run_does_not_speak_for_this_one(tmp_path):
    file = tmp_path / "alive"
    file.touch()
    Heartbeat(file)
    assert not file.exists()


def test_a_file_that_holds_something_is_no_heartbeat_of_an_earlier_run(tmp_path):
    file = tmp_path / "notes"
    file.write_text("mine")
    with pytest.raises(InputError, match="a file with content"):
        Heartbeat(file)
    assert file.read_text() == "mine"


def test_a_folder_that_is_missing_is_told_at_the_start_and_forgiven_later(tmp_path):
    with pytest.raises(InputError):
        Heartbeat(tmp_path / "missing" / "alive")
    folder = tmp_path / "folder"
    folder.mkdir()
    heartbeat = Heartbeat(folder / "alive")
    folder.rmdir()
    heartbeat.publish(None)


def test_the_environment_asks_for_it(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert heartbeat_from_environment() is None
    monkeypatch.setenv(VARIABLE, str(tmp_path / "alive"))
    heartbeat_from_environment().publish(None)
    assert (tmp_path / "alive").exists()
