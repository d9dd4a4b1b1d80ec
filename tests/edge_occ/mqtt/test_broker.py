from __future__ import annotations

import pytest
from pydantic import ValidationError

from edge_occ.common.errors import InputError
from edge_occ.mqtt.broker import PASSWORD, USERNAME, Broker, credentials, parse_broker
from edge_occ.mqtt.config import MqttConfig, default_device


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("mqtt://host", Broker("host", 1883)),
        ("mqtt://host:1884/", Broker("host", 1884)),
        ("mqtts://broker.example.org", Broker("broker.example.org", 8883, tls=True)),
        ("host", Broker("host", 1883)),
        ("host:1884", Broker("host", 1884)),
        ("192.168.0.7:1", Broker("192.168.0.7", 1)),
        ("mqtt://[::1]:1883", Broker("::1", 1883)),
        ("MQTT://line_3", Broker("line_3", 1883)),
    ],
)
def test_addresses(url, broker):
    assert parse_broker(url) == broker
    assert parse_broker(str(broker)) == broker


@pytest.mark.parametrize(
    "url",
    [
        "", "mqtt://", "tcp://host", "http://host:1883", "ws://host", "mqtt://host:port", "mqtt://host:0", "host:70000",
        "mqtt://host/topic", "mqtt://host?x=1", "mqtt://host#x", "ho st", "mqtt://a..b", "mqtt://[::1", "mqtt://h\u00f6st",
    ],
)  # fmt: skip
def test_addresses_that_are_none(url):
    with pytest.raises(InputError, match="--broker"):
        parse_broker(url)


@pytest.mark.parametrize("url", ["mqtt://joe:secret@host", "joe:secret@host:1883", "mqtts://secret@host"])
def test_credentials_in_the_address_are_refused_and_not_repeated(url):
    with pytest.raises(InputError, match=PASSWORD) as caught:
        parse_broker(url)
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError, match=USERNAME) as caught:
        MqttConfig(broker=url)
    assert "secret" not in str(caught.value)


def test_credentials_come_from_the_environment():
    assert credentials({}) == (None, None)
    assert credentials({USERNAME: "joe", PASSWORD: "secret"}) == ("joe", "secret")
    assert credentials({USERNAME: "token"}) == ("token", None)
    with pytest.raises(InputError, match=USERNAME) as caught:
        credentials({PASSWORD: "secret"})
    assert "secret" not in str(caught.value)


def test_the_default_configuration_can_be_used_as_it_is():
    config = MqttConfig()
    assert parse_broker(config.broker) == Broker("127.0.0.1", 1883)
    assert config.topics.status == f"edge-occ/{default_device()}/status"
    with pytest.raises(ValidationError):
        setattr(config, "prefix", "other")  # noqa: B010 - the type checker refuses the assignment too


@pytest.mark.parametrize("host", ["", "---", "jetson nano/3", "caf\u00e9.local", "\u5de5\u5ee0"])
def test_any_host_name_gives_a_device(monkeypatch, host):
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert MqttConfig().topics.device


def test_wrong_fields_are_refused():
    with pytest.raises(InputError):
        MqttConfig(prefix="a/#")
    with pytest.raises(InputError):
        MqttConfig(device="a/b")
    with pytest.raises(ValidationError):
        MqttConfig.model_validate({"password": "secret"})
    with pytest.raises(ValidationError):
        MqttConfig(stats_seconds=0)


def test_every_field_is_described():
    for name, field in MqttConfig.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize("client_id", ["", "line\n3", "\ud800", "x" * 513])
def test_a_client_id_that_brokers_refuse(client_id):
    with pytest.raises(ValidationError, match="client_id"):
        MqttConfig(client_id=client_id)
