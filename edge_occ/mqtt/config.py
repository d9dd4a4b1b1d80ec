"""The ``mqtt`` section of the configuration."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from edge_occ.mqtt.broker import parse_broker
from edge_occ.mqtt.commands.requests import CommandName
from edge_occ.mqtt.profiles import ProfileName
from edge_occ.mqtt.tls import TlsFiles
from edge_occ.mqtt.topics import (
    Topics,
    check_camera,
    check_device,
    check_discovery_prefix,
    check_prefix_filter,
    mqtt_string,
)

_MAX_CLIENT_ID_BYTES = 512


def default_device() -> str:
    """Return the host name as one level of a topic."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", socket.gethostname()).strip("-") or "device"


class MqttConfig(BaseModel):
    """Settings of the broker and of publishing.

    User name, password and the passphrase of ``key`` are not fields: they come from the environment variables
    ``EDGE_OCC_MQTT_USERNAME``, ``EDGE_OCC_MQTT_PASSWORD`` and ``EDGE_OCC_MQTT_KEY_PASSPHRASE``, or from files that
    these name with ``_FILE``, so that no settings, argument or log contain them.

    Raises:
        InputError: an invalid broker, prefix, device, camera or discovery prefix.
        pydantic.ValidationError: any other field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    broker: str = Field("mqtt://127.0.0.1:1883", description="mqtt://host[:port], or mqtts://host[:port] for TLS.")
    prefix: str = Field(
        "edge-occ",
        description="First levels of every topic; may include site, area and line. For watch and dashboard, + stands "
        "for any one level.",
    )
    device: str = Field(default_factory=default_device, description="Name of this device, one level of every topic.")
    camera: str | None = Field(
        None, description="Name of this camera, one more level, where several inspectors share the device."
    )
    client_id: str | None = Field(
        None,
        min_length=1,
        description="Client id at the broker; several cameras of one run add their names: <client_id>-<camera>. null: "
        "the levels of the topics, such as edge-occ:station-7:left.",
    )
    protocol: Literal["auto", "v5", "v3.1.1"] = Field(
        "auto", description="MQTT version; auto tries 5 first and falls back to 3.1.1."
    )
    ca: Path | None = Field(None, description="PEM file of the authority that signed the broker's certificate.")
    cert: Path | None = Field(None, description="PEM file of this device's certificate, if the broker requires one.")
    key: Path | None = Field(None, description="PEM file of the private key of cert.")
    server_name: str | None = Field(
        None, min_length=1, description="Name in the broker's certificate; null for the host of broker."
    )
    keepalive: int = Field(15, ge=5, le=3600, description="MQTT keep-alive, seconds.")
    session_expiry: int = Field(
        0,
        ge=0,
        le=86_400,
        description="Seconds without a connection for which a broker of MQTT 5 keeps the session; commands sent "
        "meanwhile wait, and are then carried out late. 0: none is kept.",
    )
    repeat_seconds: float = Field(
        0,
        ge=0,
        le=600,
        description="After a lost connection, event messages that were confirmed in its last seconds are sent again, "
        "as a broker that was killed may have lost them; not if the broker has kept the session. 0: none; 30 covers "
        "the default keepalive.",
    )
    event_qos: Literal[1, 2] = Field(
        1,
        description="1: an event message may arrive twice after a lost connection. 2, with session_expiry: once, but "
        "a message that the broker refuses is lost without an error.",
    )
    connect_timeout: float = Field(
        10, gt=0, le=600, description="Wait for the first connection before inspecting without one, seconds."
    )
    max_payload: int | None = Field(
        None, ge=1024, le=268_435_455, description="Bytes of the largest message; null for the broker's limit."
    )
    state: Path | None = Field(None, description="Folder of the outbox of events; null for ~/.local/state/edge-occ.")
    outbox_mb: int = Field(
        64, ge=1, le=100_000, description="Megabytes of events that wait for the broker at most; then some are dropped."
    )
    score_hz: float = Field(0, ge=0, description="Scores of normal frames a second at most; 0 publishes every frame.")
    heatmap_hz: float = Field(
        2, ge=0, description="Heatmaps of normal frames a second at most; 0 publishes no heatmaps."
    )
    picture_kb_s: float = Field(
        0,
        ge=0,
        description="Kilobytes (1,000 bytes) of heatmaps a second on average, those of anomalous frames included; "
        "0 sets no limit.",
    )
    heatmap_side: int = Field(
        1024, ge=64, le=16384, description="Pixels of a heatmap's longer side at most; larger frames are downscaled."
    )
    stats_seconds: float = Field(5, gt=0, description="Seconds between statistics.")
    commands: tuple[CommandName, ...] = Field(
        (), description="Commands that are carried out; none by default, and then the inspector subscribes to nothing."
    )
    profile: ProfileName = Field(
        "native", description="Whose topics and payloads scores and events have; docs/fleet.md says what each sends."
    )
    discovery: bool = Field(False, description="Describe each camera to Home Assistant, by its MQTT device discovery.")
    discovery_prefix: str = Field("homeassistant", description="First levels of Home Assistant's discovery topics.")

    @field_validator("broker")
    @classmethod
    def _check_broker(cls, broker: str) -> str:
        parse_broker(broker)
        return broker

    @field_validator("prefix")
    @classmethod
    def _check_prefix(cls, prefix: str) -> str:
        check_prefix_filter(prefix)
        return prefix

    @field_validator("discovery_prefix")
    @classmethod
    def _check_discovery_prefix(cls, prefix: str) -> str:
        check_discovery_prefix(prefix)
        return prefix

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str) -> str:
        check_device(device)
        return device

    @field_validator("camera")
    @classmethod
    def _check_camera(cls, camera: str | None) -> str | None:
        if camera is not None:
            check_camera(camera)
        return camera

    @field_validator("client_id")
    @classmethod
    def _check_client_id(cls, client_id: str | None) -> str | None:
        if client_id is not None and mqtt_string(client_id, _MAX_CLIENT_ID_BYTES) != client_id:
            raise ValueError(f"client_id must have no control characters and at most {_MAX_CLIENT_ID_BYTES} bytes")
        return client_id

    @model_validator(mode="after")
    def _check_session(self) -> MqttConfig:
        if self.once and not (self.session_expiry and self.protocol != "v3.1.1"):
            raise ValueError(
                "event_qos 2 needs MQTT 5 and a session that the broker keeps (session_expiry, such as 60)"
            )
        return self

    @model_validator(mode="after")
    def _check_discovery(self) -> MqttConfig:
        if self.discovery and self.profile != "native":
            raise ValueError(
                f"discovery needs profile native: Home Assistant would wait for scores and events that profile "
                f"{self.profile} sends in another form"
            )
        return self

    def of_camera(self, name: str, *, alone: bool) -> MqttConfig:
        """Return the settings of a camera that has a name.

        Args:
            name: of the camera, a level of its topics.
            alone: whether the run has no other camera; otherwise the name is a part of its client id, too.
        """
        client_id = self.client_id if self.client_id is None or alone else f"{self.client_id}-{name}"
        return self.model_copy(update={"camera": name, "client_id": client_id})

    @property
    def tls_files(self) -> TlsFiles:
        """The settings of an encrypted connection."""
        return TlsFiles(self.ca, self.cert, self.key, self.server_name)

    @property
    def once(self) -> bool:
        """True if event messages shall arrive once, where the broker can."""
        return self.event_qos == 2

    @property
    def inspector_id(self) -> str:
        """The client id of this inspector, the same for every run."""
        return self.client_id or self.topics.base.replace("/", ":")

    @property
    def topics(self) -> Topics:
        """The topics of this inspector.

        Raises:
            InputError: the prefix has a ``+``, with which one can subscribe but not publish.
        """
        return Topics(self.prefix, self.device, self.camera)
