from __future__ import annotations

import logging
import socket
import sys
import threading

import pytest
from mqtt_helpers import Ear, Mosquitto, free_port
from paho.mqtt.enums import MQTTProtocolVersion

from edge_occ.common.errors import InputError
from edge_occ.mqtt.embedded import EmbeddedBroker, broker_answers


def test_it_carries_and_keeps_messages_and_ends_cleanly():
    level = logging.getLogger("amqtt").level
    with EmbeddedBroker(free_port()) as embedded:
        assert embedded.url == f"mqtt://127.0.0.1:{embedded.port}"
        assert broker_answers("127.0.0.1", embedded.port)
        with Ear(embedded.port, "a/#", protocol=MQTTProtocolVersion.MQTTv311) as ear:
            ear.send("a/b", b"kept", retain=True)
            assert bytes(ear.wait_for_kind("b")[0].payload) == b"kept"
        with Ear(embedded.port, "a/#", protocol=MQTTProtocolVersion.MQTTv311) as late:
            assert late.wait_for_kind("b")[0].retain
    assert not broker_answers("127.0.0.1", embedded.port)
    assert not [thread for thread in threading.enumerate() if thread.name == "edge-occ-broker"]
    assert logging.getLogger("amqtt").level == level


def test_it_listens_on_loopback_only(monkeypatch):
    bound = []
    original = socket.socket.bind

    def bind(self: socket.socket, address: tuple[str, int]) -> None:
        bound.append(address)
        original(self, address)

    monkeypatch.setattr(socket.socket, "bind", bind)
    port = free_port()
    bound.clear()
    with EmbeddedBroker(port):
        pass
    assert bound == [("127.0.0.1", port)]


def test_a_taken_port_is_an_error(broker: Mosquitto):
    with pytest.raises(InputError, match=f"TCP port {broker.port} free"), EmbeddedBroker(broker.port):
        pass
    assert broker_answers("127.0.0.1", broker.port)


def test_without_amqtt_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "amqtt.broker", None)
    with pytest.raises(InputError, match=r"pip install 'edge-occ\[demo\]'.*apt install mosquitto"), EmbeddedBroker():
        pass


def test_nobody_answers_at_a_free_port():
    assert not broker_answers("127.0.0.1", free_port(), 0.5)
