"""Check of the MQTT broker: whether it answers and accepts this client, as for ``edge-occ run``."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edge_occ.doctor.machine import Machine
from edge_occ.doctor.probing import run_python
from edge_occ.doctor.report import MISSING, NOTE, OK, WRONG, Check

if TYPE_CHECKING:
    from edge_occ.mqtt.config import MqttConfig

_PATIENCE = 4.0
_USUAL_PORT = 1883
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def check_broker(machine: Machine, config: MqttConfig | None) -> Check:
    """Connect as a client without topics, and leave.

    Args:
        machine: this machine.
        config: the broker; ``None`` is the default one, in whose place ``edge-occ run`` may start one of its own.
    """
    settings = "{}" if config is None else config.model_dump_json()
    # In a child, because the client's modules import numpy, and a name server may not answer.
    result = run_python(f"from edge_occ.doctor.broker import try_broker\nreport(**try_broker({settings!r}))")
    facts = result.facts
    if result.fault:
        return Check("broker", NOTE, f"could not be checked: {result.fault}")
    if facts["version"]:
        return Check("broker", OK, f"{facts['address']}, MQTT {facts['version']}")
    if facts["silent_here"]:
        own = config is None and find_spec("amqtt") is not None
        # Debian installs it to a folder of programs for root.
        program = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
        return no_broker(machine, facts["address"], facts["port"], program, own=own)
    return Check("broker", WRONG, f"{facts['address']}: {facts['found']}; {facts['advice']}")


def try_broker(settings: str) -> dict[str, Any]:
    """Connect to the broker of a :class:`~edge_occ.mqtt.config.MqttConfig` in JSON.

    Returns:
        Its ``address`` and ``port``; the ``version`` of MQTT, empty if it did not accept this client, and then what was
        ``found``, the ``advice``, and whether nothing listens there and it is this machine, ``silent_here``.
    """
    # Imported here, so that a device without paho-mqtt or pydantic still gets a diagnosis.
    from edge_occ.common.errors import InputError  # noqa: PLC0415
    from edge_occ.mqtt.broker import parse_broker  # noqa: PLC0415
    from edge_occ.mqtt.client.connection import Connection  # noqa: PLC0415
    from edge_occ.mqtt.config import MqttConfig  # noqa: PLC0415
    from edge_occ.mqtt.embedded import broker_answers  # noqa: PLC0415

    config = MqttConfig.model_validate_json(settings)
    address = parse_broker(config.broker)
    facts = {"address": str(address), "port": address.port, "version": ""}
    try:
        connection = Connection(config, f"edge-occ-doctor-{os.getpid()}")
        connection.connect(_PATIENCE)
    except InputError as error:
        silent = address.host in _LOOPBACK and not broker_answers(address.host, address.port)
        return {**facts, "found": error.found, "advice": error.advice, "silent_here": silent}
    facts["version"] = "5" if connection.v5 else "3.1.1"
    connection.close(1.0)
    return facts


def no_broker(machine: Machine, address: str, port: int, program: str | None, *, own: bool) -> Check:
    """Return the check where nothing listens at an address of this machine.

    Args:
        machine: this machine.
        address: the broker's address.
        port: its port.
        program: path of mosquitto, if it is installed.
        own: whether ``edge-occ run`` would start a broker of its own.
    """
    if program is None:
        fix = machine.apt_install("mosquitto")
    elif port == _USUAL_PORT and not machine.container:
        fix = machine.sudo("systemctl start mosquitto")
    else:
        fix = f"{program} -d -p {port}"
    if own:
        return Check("broker", NOTE, f"none at {address}: run starts one of its own, for this machine only", fix)
    return Check("broker", MISSING, f"none at {address}: run needs one, or --no-mqtt", fix)
