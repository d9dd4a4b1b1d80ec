"""Home Assistant's device discovery: one retained message describes a camera's entities; pure."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from edge_occ import __version__
from edge_occ.inspection.events import Phase
from edge_occ.mqtt.payloads import DeviceState
from edge_occ.mqtt.topics import Topics

BIRTH = b"online"
"""Home Assistant's message on ``<discovery prefix>/status`` when it has started."""

_AVAILABLE = f"{{{{ 'offline' if value_json.state == '{DeviceState.OFFLINE.value}' else 'online' }}}}"
_PROBLEM = {"p": "binary_sensor", "device_class": "problem", "payload_on": "1", "payload_off": "0"}


def discovery_id(topics: Topics) -> str:
    """Return the id of a camera: letters, digits, ``_`` and ``-``, which is what Home Assistant takes.

    Levels are joined by ``_``.  Where a level has another character, or ``_``, 8 digits of a hash keep ids apart.
    """
    levels = topics.base.split("/")
    name = re.sub(r"[^A-Za-z0-9_-]", "_", "_".join(levels))
    if all(re.fullmatch(r"[A-Za-z0-9-]+", level) for level in levels):
        return name
    return f"{name}_{hashlib.sha256(topics.base.encode()).hexdigest()[:8]}"


def discovery_topic(topics: Topics, prefix: str) -> str:
    """Return the topic of a camera's description, below Home Assistant's discovery ``prefix``."""
    return f"{prefix}/device/{discovery_id(topics)}/config"


def birth_topic(prefix: str) -> str:
    """Return the topic on which Home Assistant says that it has started."""
    return f"{prefix}/status"


def discovery_payload(topics: Topics) -> bytes:
    """Return the description as JSON."""
    return json.dumps(discovery_document(topics), ensure_ascii=False, separators=(",", ":")).encode()


def discovery_document(topics: Topics) -> dict[str, Any]:
    """Return the description of a camera's device and entities."""
    identifier = discovery_id(topics)
    device = {
        "ids": [identifier],
        "name": " ".join(filter(None, topics.origin)),
        "mf": "edge-occ",
        "mdl": "Visual inspector",
        "sw": __version__,
    }
    entities = _entities(topics)
    return {
        "dev": device,
        "o": {"name": "edge-occ", "sw": __version__},
        "availability": [{"topic": topics.status, "value_template": _AVAILABLE}],
        "cmps": {key: {**entity, "unique_id": f"{identifier}_{key}"} for key, entity in entities.items()},
    }


def _entities(topics: Topics) -> dict[str, dict[str, Any]]:
    """Return the entities by the last part of their ids."""
    return {
        "heatmap": {"p": "image", "name": "Heatmap", "image_topic": topics.heatmap, "content_type": "image/jpeg"},
        "score": {
            "p": "sensor",
            "name": "Score",
            "state_topic": topics.score,
            "value_template": "{{ value_json.score }}",
            "state_class": "measurement",
            "suggested_display_precision": 3,
        },
        "anomalous": {
            **_PROBLEM,
            "name": "Anomalous",
            "state_topic": topics.score,
            "value_template": "{{ value_json.anomalous }}",
        },
        "event": {
            "p": "event",
            "name": "Event",
            "state_topic": topics.event,
            "event_types": [phase.value for phase in Phase],
        },
        "drift": {
            **_PROBLEM,
            "name": "Drift",
            "state_topic": topics.stats,
            "value_template": "{{ value_json.drift_alarm }}",
            "entity_category": "diagnostic",
        },
        "state": {
            "p": "sensor",
            "name": "State",
            "state_topic": topics.status,
            "value_template": "{{ value_json.state }}",
            "device_class": "enum",
            "options": [state.value for state in DeviceState],
            "entity_category": "diagnostic",
        },
    }
