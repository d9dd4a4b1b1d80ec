"""Settings and parts that the cameras of a run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_occ.mqtt.commands.service import CommandService
from edge_occ.mqtt.config import MqttConfig
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.heartbeat import Heartbeat


@dataclass(frozen=True)
class CameraPlan:
    """Settings and parts that the cameras of a run share.

    Attributes:
        config: settings of all parts.
        mqtt: the broker and the names; ``None`` publishes nothing.
        json: print JSON on standard output instead of lines for people on standard error.
        alone: whether there is no other camera.
        heartbeat: signs of life for the supervisor.
        notify: called with lines for people.
        commands: of the cameras; none where no command is enabled.
    """

    config: RunConfig
    mqtt: MqttConfig | None
    json: bool
    alone: bool
    heartbeat: Heartbeat
    notify: Callable[[str], None]
    commands: CommandService
