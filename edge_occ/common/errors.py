"""The rest of the error tree; see :mod:`engines.errors` for its root and the exit codes."""

from __future__ import annotations

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
    """All frames were inspected, and the line was not told of all that was seen."""

    exit_code = 6


class Hung(UserError):
    """A run inspected no frame for longer than its watchdog allows."""

    exit_code = 7
