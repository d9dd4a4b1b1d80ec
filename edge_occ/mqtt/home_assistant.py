"""The description of a camera for Home Assistant, on every connection and whenever Home Assistant has started."""

from __future__ import annotations

from collections.abc import Callable

from paho.mqtt.client import MQTTMessage

from edge_occ.mqtt.client.paho_client import Subscription
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.discovery import BIRTH, birth_topic, discovery_payload, discovery_topic

_MAX_RECEIVED = 4096
"""Bytes of the largest packet that a broker may send."""


def discovery_births(config: MqttConfig) -> dict[str, bytes]:
    """Return what is published, retained, on every connection: topics and payloads; nothing unless it is enabled."""
    if not config.discovery:
        return {}
    return {discovery_topic(config.topics, config.discovery_prefix): discovery_payload(config.topics)}


def follow_home_assistant(config: MqttConfig, on_start: Callable[[], None]) -> Subscription | None:
    """Return the subscription to Home Assistant's start, after which it needs the description again.

    Args:
        config: whether and where.
        on_start: called in the network thread.
    """
    if not config.discovery:
        return None

    def on_message(message: MQTTMessage) -> None:
        if bytes(message.payload) == BIRTH:
            on_start()

    return Subscription((birth_topic(config.discovery_prefix),), on_message, _MAX_RECEIVED, required=False)
