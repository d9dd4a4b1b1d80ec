"""What a built engine is: its bytes, what it was asked to be, where it is good, and the description that says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

SCHEMA = 1
"""Version of the description, and of the way plans are built; another one is another plan."""


class PlanRejected(Exception):
    """There is a plan, but it cannot be used; the message says why."""


@dataclass(frozen=True)
class Request:
    """What a plan is made from; it names the files, so that plans of several bundles and settings live side by side.

    The head is not part of it: its tensors are inputs.

    Attributes:
        graph: SHA-256 of the ONNX model.
        weak: SHA-256 of the model for a weakly typed build, if one is to be tried.
        precision: arithmetic of the encoder.
        typing: ``strong``, ``weak``, or ``faster`` if both are built.
        frame: height and width it is tuned for.
        max_frame: largest height and width.
    """

    graph: str
    weak: str | None
    precision: str
    typing: str
    frame: tuple[int, int]
    max_frame: tuple[int, int]

    @property
    def name(self) -> str:
        """Stem of the files."""
        return f"{self.precision}-{digest({'schema': SCHEMA, **asdict(self)})}"


@dataclass(frozen=True)
class Machine:
    """Where a plan was built; it is good nowhere else, and its speed was measured under this power mode."""

    tensorrt: str
    gpu: str
    capability: str
    multiprocessors: int
    driver: int
    l4t: str | None
    power_mode: str | None


@dataclass(frozen=True)
class Plan:
    """A plan that may be trusted, and what its description says beyond request and machine."""

    data: bytes
    facts: Mapping[str, Any]


def describe(request: Request, machine: Machine, plan: Plan) -> bytes:
    """The description that goes beside a plan, JSON."""
    description = {
        "schema": SCHEMA,
        "request": asdict(request),
        "machine": asdict(machine),
        "plan": {"sha256": hashlib.sha256(plan.data).hexdigest(), "bytes": len(plan.data)},
        "facts": dict(plan.facts),
    }
    return json.dumps(description, indent=2).encode()


def trust(description: bytes, data: bytes, machine: Machine) -> Plan:
    """Check a plan against its description.

    Raises:
        PlanRejected: it is not what was described, or was built elsewhere.
    """
    try:
        told = json.loads(description)
        schema, built_on, recorded = told["schema"], dict(told["machine"]), told["plan"]["sha256"]
        facts = dict(told["facts"])
    except (ValueError, LookupError, TypeError) as error:
        raise PlanRejected("its description is damaged") from error
    if schema != SCHEMA:
        raise PlanRejected("another version of edge-occ built it")
    for field in fields(machine):
        there, here = built_on.get(field.name), getattr(machine, field.name)
        if there != here:
            raise PlanRejected(f"it was built with {field.name.replace('_', ' ')} {there}, and here is {here}")
    if hashlib.sha256(data).hexdigest() != recorded:
        raise PlanRejected("its bytes are not those that were built")
    return Plan(data, facts)


def digest(value: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that differ where the values do."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
