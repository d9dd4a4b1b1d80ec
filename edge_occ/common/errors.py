"""The rest of the error tree; see :mod:`engines.errors` for its root and the exit codes."""

from __future__ import annotations

from collections.abc import Mapping

from engines.errors import EngineUnavailable, ParityFailure, UserError

__all__ = [
    "BundleRefused",
    "EngineUnavailable",
    "EventsLost",
    "Hung",
    "InputError",
    "ParityFailure",
    "SourceLost",
    "UserError",
]


class InputError(UserError):
    """Arguments, configuration or input files are wrong."""

    exit_code = 2


class BundleRefused(UserError):
    """A bundle is damaged, edited, or of a format this version does not know."""

    exit_code = 3


class SourceLost(UserError):
    """A source that once delivered frames is gone for good."""

    exit_code = 5


class EventsLost(UserError):
    """All frames were inspected, but not every event message is at the broker, or in the outbox for the next run.

    Attributes:
        counts: event messages that were ``dropped``, ``refused`` by the broker, or ``failed`` to be made.
    """

    exit_code = 6

    def __init__(self, counts: Mapping[str, int]) -> None:
        parts = f"{counts['dropped']} not delivered, {counts['refused']} refused by the broker"
        super().__init__(
            "every event message at the broker, or in the outbox",
            f"{sum(counts.values())} lost ({parts})",
            "see the warnings above; check the broker and the network",
        )
        self.counts = counts


class Hung(UserError):
    """A run inspected no frame for longer than its watchdog allows."""

    exit_code = 7
