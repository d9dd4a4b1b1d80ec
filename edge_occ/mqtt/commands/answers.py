"""Answers to requests, and the memory that makes a repeated request harmless; pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from pydantic import Field

from edge_occ.mqtt.commands.requests import Request
from edge_occ.mqtt.payload_base import Message

MAX_REMEMBERED = 256
"""Requests of one camera whose answers are remembered."""

_MAX_REASON = 1000


class CommandStatus(str, Enum):
    """Status of a request."""

    ACCEPTED = "accepted"
    """It is under way; another answer with the same id follows."""
    DONE = "done"
    """It was carried out."""
    REFUSED = "refused"
    """It was not carried out."""
    FAILED = "failed"
    """It was tried in vain."""


class CommandAck(Message):
    """Answer to a request."""

    schema_: Literal["edge-occ/command-ack/1"] = Field(
        "edge-occ/command-ack/1", alias="schema", description="Kind and version."
    )
    ts: int = Field(ge=0, le=2**53 - 1, description="Epoch milliseconds of the answer.")
    id: str = Field("", description="Id of the request; empty where it had none that is allowed.")
    command: str = Field("", description="Command of the request; empty where it is unknown.")
    status: CommandStatus = Field(
        description="accepted (under way, another answer follows), done, refused (not carried out) or failed (in vain)."
    )
    reason: str = Field("", max_length=_MAX_REASON, description="Details for people; of a refusal always.")


@dataclass(frozen=True)
class RequestOutcome:
    """Outcome of a request.

    Attributes:
        status: accepted, done, refused or failed.
        reason: details for people, cut at 1000 characters.
    """

    status: CommandStatus
    reason: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", self.reason[:_MAX_REASON])

    @classmethod
    def accepted(cls, reason: str = "") -> RequestOutcome:
        """It is under way."""
        return cls(CommandStatus.ACCEPTED, reason)

    @classmethod
    def done(cls, reason: str = "") -> RequestOutcome:
        """It was carried out."""
        return cls(CommandStatus.DONE, reason)

    @classmethod
    def refused(cls, reason: str) -> RequestOutcome:
        """It was not carried out."""
        return cls(CommandStatus.REFUSED, reason)

    @classmethod
    def failed(cls, reason: str) -> RequestOutcome:
        """It was tried in vain."""
        return cls(CommandStatus.FAILED, reason)


class AnswerMemory:
    """The latest requests of one camera with their answers, the oldest forgotten first.

    Args:
        size: requests at most.
    """

    def __init__(self, size: int = MAX_REMEMBERED) -> None:
        self._size = size
        self._answers: OrderedDict[str, tuple[Request, CommandAck]] = OrderedDict()

    def find(self, request: Request) -> CommandAck | None:
        """Return the answer to this request, ``None`` for a new one.

        Raises:
            ValueError: the id is that of another request.
        """
        known = self._answers.get(request.id)
        if known is None:
            return None
        if known[0] != request:
            raise ValueError("the id was used before, for another request")
        return known[1]

    def keep(self, request: Request, answer: CommandAck) -> None:
        """Remember an answer."""
        self._answers[request.id] = (request, answer)
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)
