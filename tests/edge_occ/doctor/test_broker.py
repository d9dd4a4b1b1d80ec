"""The check of the broker, with real brokers."""

import subprocess

import pytest
from mqtt_helpers import Mosquitto, free_port, tool

from edge_occ.doctor.broker import check_broker, no_broker
from edge_occ.doctor.machine import Machine
from edge_occ.doctor.report import CheckState
from edge_occ.mqtt.broker import PASSWORD, USERNAME
from edge_occ.mqtt.config import MqttConfig

PC = Machine()


def test_a_broker_that_answers(broker):
    check = check_broker(PC, MqttConfig(broker=broker.url))
    assert (check.state, check.found) == (CheckState.OK, f"{broker.url}, MQTT 5")


def test_no_broker_here():
    port = free_port()
    check = check_broker(PC, MqttConfig(broker=f"mqtt://127.0.0.1:{port}"))
    assert check.state is CheckState.MISSING
    assert "--no-mqtt" in check.found
    assert not check.needed


def test_no_broker_elsewhere_is_not_mended_by_installing_one_here():
    check = check_broker(PC, MqttConfig(broker=f"mqtt://127.0.0.2:{free_port()}"))
    assert (check.state, check.fix) == (CheckState.WRONG, None)
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
    assert (check.state, check.fix) == (CheckState.MISSING, fix)
    assert no_broker(machine, "mqtt://127.0.0.1", port, program, own=True).state is CheckState.NOTE


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
    assert check.state is CheckState.WRONG
    assert "closed without an answer" in check.found


def test_a_broker_that_requires_a_password_and_the_secret_is_not_repeated(tmp_path, monkeypatch):
    passwords = tmp_path / "passwords"
    subprocess.run([tool("mosquitto_passwd", "mosquitto"), "-b", "-c", passwords, "line", "s3cret"], check=True)
    passwords.chmod(0o644)
    closed = Mosquitto(tmp_path, [f"password_file {passwords}", "allow_anonymous false"]).start()
    try:
        config = MqttConfig(broker=closed.url)
        refused = check_broker(PC, config)
        assert refused.state is CheckState.WRONG
        assert "ot authorized" in refused.found
        assert USERNAME in refused.found
        monkeypatch.setenv(USERNAME, "line")
        monkeypatch.setenv(PASSWORD, "wr0ng")
        assert "wr0ng" not in str(check_broker(PC, config))
        monkeypatch.setenv(PASSWORD, "s3cret")
        accepted = check_broker(PC, config)
        assert accepted.state is CheckState.OK
        assert "s3cret" not in str(accepted)
    finally:
        closed.stop()
