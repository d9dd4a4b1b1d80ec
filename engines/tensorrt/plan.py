"""A plan, which is a built engine: its bytes, its key, the platform it was built on, and their description."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

SCHEMA = 2
"""Version of the description and of the way plans are built; plans of another version are not used."""


class PlanRejected(Exception):
    """A plan exists but cannot be used; the message gives the reason."""


@dataclass(frozen=True)
class PlanKey:
    """The inputs of a build; they name its files, so that plans of several bundles and settings share a folder.

    The head is no part of it, because its tensors are inputs of the graph.

    Attributes:
        graph: SHA-256 of the ONNX model.
        precision: arithmetic of the encoder.
        frame: height and width that the plan is optimised for.
        max_frame: largest height and width.
    """

    graph: str
    precision: str
    frame: tuple[int, int]
    max_frame: tuple[int, int]

    @property
    def name(self) -> str:
        """Stem of the files."""
        return f"{self.precision}-{digest({'schema': SCHEMA, **asdict(self)})}"


@dataclass(frozen=True)
class Platform:
    """Hardware and software that a plan was built on; it is valid nowhere else, nor tuned for another power mode."""

    tensorrt: str
    gpu: str
    capability: str
    multiprocessors: int
    driver: int
    l4t: str | None
    power_mode: str | None


@dataclass(frozen=True)
class Plan:
    """A verified plan, and the facts of its description beyond key and platform."""

    data: bytes
    facts: Mapping[str, Any]


def describe(key: PlanKey, platform: Platform, plan: Plan) -> bytes:
    """Return the description that is stored with a plan, JSON."""
    description = {
        "schema": SCHEMA,
        "key": asdict(key),
        "platform": asdict(platform),
        "plan": {"sha256": hashlib.sha256(plan.data).hexdigest(), "bytes": len(plan.data)},
        "facts": dict(plan.facts),
    }
    return json.dumps(description, indent=2).encode()


def verify_plan(description: bytes, data: bytes, platform: Platform) -> Plan:
    """Check a plan against its description.

    Raises:
        PlanRejected: it does not match the description, or was built on another platform.
    """
    try:
        content = json.loads(description)
        if content["schema"] != SCHEMA:
            raise PlanRejected("another version of edge-occ built it")
        built_on, recorded, facts = dict(content["platform"]), content["plan"]["sha256"], dict(content["facts"])
    except (ValueError, LookupError, TypeError) as error:
        raise PlanRejected("its description is damaged") from error
    for field in fields(platform):
        there, here = built_on.get(field.name), getattr(platform, field.name)
        if there != here:
            raise PlanRejected(f"it was built with {field.name.replace('_', ' ')} {there}, and here is {here}")
    if hashlib.sha256(data).hexdigest() != recorded:
        raise PlanRejected("its bytes are not those that were built")
    return Plan(data, facts)


def digest(value: Mapping[str, Any]) -> str:
    """Return sixteen hexadecimal digits of the values' SHA-256."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
