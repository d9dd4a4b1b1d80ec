"""The broker of compose.yaml: who gets in."""

import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from deployment import ENVIRONMENT, compose, text, tool
from paho.mqtt.enums import CallbackAPIVersion

from edge_occ.mqtt.broker import PASSWORD, USERNAME


@pytest.fixture
def broker(tmp_path):
    """Starts the real mosquitto by the very lines of compose.yaml; gives the process and its port."""
    tool("mosquitto_passwd")
    programs = Path(tool("mosquitto")).parent
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration, script = text("deploy/mosquitto.conf"), compose()["services"]["broker"]["command"][2]
    for old in ("/run/mosquitto", "/mosquitto/data", "/mosquitto/config"):
        configuration, script = configuration.replace(old, str(tmp_path)), script.replace(old, str(tmp_path))
    # As root mosquitto would become another user, who must not read the folder of this test.
    configuration = configuration.replace("listener 1883", f"listener {port} 127.0.0.1") + "user root\n"
    (tmp_path / "mosquitto.conf").write_text(configuration)
    processes = []

    def start(password):
        variables = {**os.environ, **ENVIRONMENT, PASSWORD: password, "PATH": f"{programs}:{os.environ['PATH']}"}
        command = ["sh", "-euc", script.replace("$$", "$")]
        processes.append(subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return processes[0], port

    yield start
    for process in processes:
        process.terminate()
        process.wait(10)


def test_the_broker_lets_in_who_has_the_password_and_nobody_else(broker, tmp_path):
    _, port = broker(ENVIRONMENT[PASSWORD])
    assert [answer(port, password) for password in (ENVIRONMENT[PASSWORD], "another", None)] == [True, False, False]
    assert ENVIRONMENT[PASSWORD] not in (tmp_path / "passwords").read_text()


def test_the_broker_refuses_a_password_that_mosquitto_would_cut(broker):
    process, _ = broker("before:after")
    assert process.wait(10) == 2


def answer(port, password):
    """Whether the broker lets a client in; waits for it to start."""
    known, heard = threading.Event(), []
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    if password is not None:
        client.username_pw_set(ENVIRONMENT[USERNAME], password)

    def connected(_client, _data, _flags, reason, _properties):
        heard.append(not reason.is_failure)
        known.set()

    client.on_connect = connected
    for _ in range(100):
        try:
            client.connect("127.0.0.1", port)
            break
        except OSError:
            time.sleep(0.1)
    client.loop_start()
    try:
        assert known.wait(10)
    finally:
        client.disconnect()
        client.loop_stop()
    return heard[0]
