"""The broker and the folders."""

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from mqtt_helpers import Mosquitto, free_port, tool

from edge_occ.doctor.broker import check_broker, no_broker
from edge_occ.doctor.disk import Folder, check_cache, check_folders, check_here, read_folder
from edge_occ.doctor.machine import Machine
from edge_occ.doctor.report import State
from edge_occ.mqtt.broker import PASSWORD, USERNAME
from edge_occ.mqtt.config import MqttConfig

PC = Machine()
GB = 1 << 30


def test_a_broker_that_answers(broker):
    check = check_broker(PC, MqttConfig(broker=broker.url))
    assert (check.state, check.found) == (State.OK, f"{broker.url}, MQTT 5")


def test_no_broker_here():
    port = free_port()
    check = check_broker(PC, MqttConfig(broker=f"mqtt://127.0.0.1:{port}"))
    assert check.state is State.MISSING
    assert "--no-mqtt" in check.found
    assert not check.needed


def test_no_broker_elsewhere_is_not_mended_by_installing_one_here():
    check = check_broker(PC, MqttConfig(broker=f"mqtt://127.0.0.2:{free_port()}"))
    assert (check.state, check.fix) == (State.WRONG, None)
    assert "refused" in check.found


@pytest.mark.parametrize(
    ("machine", "port", "program", "fix"),
    [
        (PC, 1883, None, "sudo apt install mosquitto"),
        (PC, 1883, "/usr/sbin/mosquitto", "sudo systemctl start mosquitto"),
        (PC, 1884, "/usr/sbin/mosquitto", "/usr/sbin/mosquitto -d -p 1884"),
        (Machine(container=True), 1883, "/usr/sbin/mosquitto", "/usr/sbin/mosquitto -d -p 1883"),
        (Machine(apt=False), 1883, None, None),
    ],
)
def test_how_to_get_one(machine, port, program, fix):
    check = no_broker(machine, "mqtt://127.0.0.1", port, program, own=False)
    assert (check.state, check.fix) == (State.MISSING, fix)
    assert no_broker(machine, "mqtt://127.0.0.1", port, program, own=True).state is State.NOTE


def test_something_else_on_the_port():
    with subprocess.Popen(
        [
            "python3",
            "-c",
            "import socket\ns = socket.create_server(('127.0.0.1', 0))\nprint(s.getsockname()[1], flush=True)\n"
            "while True: s.accept()[0].close()",
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            port = int(server.stdout.readline())
            check = check_broker(PC, MqttConfig(broker=f"mqtt://127.0.0.1:{port}"))
        finally:
            server.kill()
    assert check.state is State.WRONG
    assert "closed without an answer" in check.found


def test_a_broker_that_wants_a_password_and_the_secret_is_not_repeated(tmp_path, monkeypatch):
    passwords = tmp_path / "passwords"
    subprocess.run([tool("mosquitto_passwd", "mosquitto"), "-b", "-c", passwords, "line", "s3cret"], check=True)
    passwords.chmod(0o644)
    closed = Mosquitto(tmp_path, [f"password_file {passwords}", "allow_anonymous false"]).start()
    try:
        config = MqttConfig(broker=closed.url)
        refused = check_broker(PC, config)
        assert refused.state is State.WRONG
        assert "ot authorized" in refused.found
        assert USERNAME in refused.found
        monkeypatch.setenv(USERNAME, "line")
        monkeypatch.setenv(PASSWORD, "wr0ng")
        assert "wr0ng" not in str(check_broker(PC, config))
        monkeypatch.setenv(PASSWORD, "s3cret")
        accepted = check_broker(PC, config)
        assert accepted.state is State.OK
        assert "s3cret" not in str(accepted)
    finally:
        closed.stop()


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    cache = tmp_path / "a" / "b"
    folder = read_folder(cache)
    assert folder.existing == tmp_path
    assert folder.free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.5)
    assert check_cache(PC, folder).state is State.OK
    assert not cache.parent.exists()


def test_everybody_may_write_to_the_cache(tmp_path):
    cache = tmp_path / "my cache"
    cache.mkdir()
    cache.chmod(0o777)
    check = check_cache(PC, read_folder(cache))
    assert check.state is State.WRONG
    subprocess.run(["sh", "-c", check.fix], check=True)
    assert check_cache(PC, read_folder(cache)).state is State.OK
    # A folder above may be open to all, as /tmp is.
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert check_cache(PC, read_folder(tmp_path / "open" / "cache")).state is State.OK


@pytest.mark.parametrize(
    ("change", "words"),
    [({"writable": False}, "no permission"), ({"foreign": True}, "another user"), ({"free": GB // 2}, "1 GB")],
)
def test_a_cache_of_no_use(change, words):
    folder = dataclasses.replace(Folder(Path("/c/e"), Path("/c"), True, False, False, 9 * GB), **change)
    check = check_cache(PC, folder)
    assert check.state is State.WRONG
    assert words in check.found
    assert check.fix == (None if "free" in change else "sudo install -d -m 700 -o $(id -un) /c/e")


def test_the_command_that_makes_a_cache(tmp_path):
    cache = tmp_path / "e e" / "cache"
    folder = dataclasses.replace(read_folder(cache), writable=False)
    subprocess.run(["sh", "-c", check_cache(Machine(root=True), folder).fix], check=True)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert cache.stat().st_uid == os.geteuid()


def test_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache, here = check_folders(PC)
    assert cache.found.startswith(str(tmp_path / "cache" / "edge-occ" / "engines"))
    assert (here.state, here.name) == (State.OK, "this folder")
    read_only = dataclasses.replace(read_folder(tmp_path), writable=False)
    assert (check_here(read_only).state, check_here(read_only).fix) == (State.NOTE, "cd ~")
