"""Requests of operators, from untrusted bytes; pure.

A request is JSON with flat keys: ``id``, ``command`` and its arguments.  Nothing of it becomes part of a topic.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json

MAX_BYTES = 4096
"""Bytes of the largest request."""

MAX_MUTE_SECONDS = 24 * 3600
"""Longest time of :class:`MuteRequest`."""

MAX_FRAMES = 2000
"""Most frames of :class:`RecalibrateRequest`."""

CommandName = Literal["snapshot", "trigger", "rearm", "threshold", "reload", "rollback", "mute", "recalibrate"]
"""Commands that can be enabled."""

_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"

RequestId = Annotated[
    str,
    Field(
        pattern=f"^{_ID}$",
        description="Chosen by the sender, another one for each request; letters, digits and '.', '_', ':', '-'.",
    ),
]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: RequestId


class SnapshotRequest(_Request):
    """Publish the latest frame that was inspected."""

    command: Literal["snapshot"]


class TriggerRequest(_Request):
    """Inspect the next frame, where ``trigger.mode`` is ``command``."""

    command: Literal["trigger"]


class RearmRequest(_Request):
    """End the open event, so that the next anomalous frames start another one."""

    command: Literal["rearm"]


class ThresholdRequest(_Request):
    """Reject by another threshold until the next reload or start: one of ``rate`` and ``threshold``."""

    command: Literal["threshold"]
    rate: FiniteFloat | None = Field(
        None, gt=0, lt=0.5, description="Share of good parts that may be called anomalous."
    )
    threshold: FiniteFloat | None = Field(None, description="Score above which a frame is anomalous.")

    @model_validator(mode="after")
    def _one(self) -> ThresholdRequest:
        if (self.rate is None) == (self.threshold is None):
            raise ValueError("one of rate and threshold is needed")
        return self


class ReloadRequest(_Request):
    """Read settings and bundle again, of all cameras of the run."""

    command: Literal["reload"]


class RollbackRequest(_Request):
    """Put the previous version of the bundle in its place, and reload."""

    command: Literal["rollback"]


class MuteRequest(_Request):
    """Mark events as muted for some time, or no longer."""

    command: Literal["mute"]
    seconds: int = Field(ge=0, le=MAX_MUTE_SECONDS, description="From now; 0 ends it.")


class RecalibrateRequest(_Request):
    """Fit heads and threshold to the next frames, all of good parts, and reload; answered twice."""

    command: Literal["recalibrate"]
    frames: int = Field(ge=0, le=MAX_FRAMES, description="Number of frames to take; 0 gives up the one under way.")
    threshold_only: bool = Field(False, description="Keep the heads, and calibrate the threshold alone.")


Request = (
    SnapshotRequest
    | TriggerRequest
    | RearmRequest
    | ThresholdRequest
    | ReloadRequest
    | RollbackRequest
    | MuteRequest
    | RecalibrateRequest
)

REQUESTS: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="command")])
"""Model of the JSON of all requests."""


class RefusedRequest(ValueError):
    """A request that is not carried out.

    Attributes:
        id, command: of the request; empty where it has none that may be repeated.
        reason: for the sender.
    """

    def __init__(self, reason: str, id: str = "", command: str = "") -> None:  # noqa: A002 - its name in the request
        super().__init__(reason)
        self.reason, self.id, self.command = reason, id, command


def parse_request(payload: bytes) -> Request:
    """Return the request in a payload.

    Raises:
        RefusedRequest: any bytes that are none.
    """
    if len(payload) > MAX_BYTES:
        raise RefusedRequest(f"{len(payload)} bytes, more than {MAX_BYTES}")
    try:
        content: Any = from_json(payload, allow_inf_nan=False)
    except ValueError:
        raise RefusedRequest("malformed: not JSON in UTF-8") from None
    if not isinstance(content, dict):
        raise RefusedRequest("malformed: not a JSON object")
    id_, command = content.get("id"), content.get("command")
    known = command if isinstance(command, str) and command in get_args(CommandName) else ""
    if not isinstance(id_, str) or not re.fullmatch(_ID, id_):
        raise RefusedRequest(f"malformed: id must be a text of 1 to 64 characters like {_ID}", command=known)
    if not known:
        raise RefusedRequest("unknown command", id_)
    try:
        return REQUESTS.validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"][1:]))
        raise RefusedRequest(f"malformed: {place[:64]}: {first['msg']}".replace(": : ", ": "), id_, known) from None
