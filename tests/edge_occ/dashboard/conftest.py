from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from dashboard_helpers import Dashboard, dashboard
from mqtt_helpers import Ear, Mosquitto, wait_until

from edge_occ.dashboard.access_token import VARIABLE
from edge_occ.mqtt.config import MqttConfig


@pytest.fixture
def config(broker: Mosquitto) -> MqttConfig:
    """A line of its own at the common broker."""
    return MqttConfig(broker=broker.url, prefix=f"plant/{uuid4().hex[:8]}")


@pytest.fixture
def line(broker: Mosquitto, config: MqttConfig) -> Iterator[Ear]:
    """A client that publishes for that line."""
    with Ear(broker.port, f"{config.prefix}/#") as client:
        yield client


@pytest.fixture
def served(config: MqttConfig) -> Iterator[Dashboard]:
    """A dashboard of that line, which the broker has accepted."""
    with dashboard(config) as page:
        wait_until(lambda: page.get("/healthz")[0] == 200, "the dashboard to find the broker")
        yield page


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
