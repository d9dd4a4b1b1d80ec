from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from mqtt_helpers import Ear, Mosquitto

from edge_occ.mqtt.broker import PASSWORD, USERNAME
from edge_occ.mqtt.config import MqttConfig


@pytest.fixture
def config(broker: Mosquitto) -> MqttConfig:
    """A device with a unique name at the common broker."""
    return MqttConfig(broker=broker.url, prefix="plant/line3/edge-occ", device=f"camera-{uuid4().hex[:8]}")


@pytest.fixture
def ear(broker: Mosquitto, config: MqttConfig) -> Iterator[Ear]:
    """Subscribes to all topics of that device."""
    with Ear(broker.port, f"{config.prefix}/{config.device}/#") as listener:
        yield listener


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(USERNAME, raising=False)
    monkeypatch.delenv(PASSWORD, raising=False)
