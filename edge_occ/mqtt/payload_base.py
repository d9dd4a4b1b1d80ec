"""Base of all JSON payloads: schema, origin, times, and unknown keys that are ignored."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc)


def epoch_ms(moment: datetime) -> int:
    """Return the milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""Date and time in UTC, written as RFC 3339."""

MAX_INTEGER = 2**53 - 1
"""Largest integer that a double holds exactly, as JavaScript reads every number."""


class Payload(BaseModel):
    """An immutable part of a message.  Unknown keys are ignored: newer versions may add some."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, json_schema_serialization_defaults_required=True
    )

    def to_json(self) -> bytes:
        """Return compact UTF-8 JSON."""
        return self.model_dump_json(by_alias=True).encode()


class Message(Payload):
    """A whole message: schema and origin come first in every one."""

    schema_: str = Field(alias="schema", description="Kind and version.")
    device: str = Field("", description="Device, as in the topic.")
    camera: str = Field("", description="Camera, as in the topic; empty where the topic has no such level.")
