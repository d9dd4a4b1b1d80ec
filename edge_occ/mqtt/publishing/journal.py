"""Journal of open events on disk, with a lock against a second inspector on the same topics.

Every event that starts must end, even if the process is killed or the power fails in between.  So an event is written
to the journal before its start is handed over, and removed once the broker has its end; those left at the next start
were interrupted.  Without a writable folder the inspector runs without journal and lock.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Literal

from pydantic import Field, ValidationError

from edge_occ.common.errors import InputError
from edge_occ.common.files import atomic_write
from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.payloads import Event, Payload

_log = logging.getLogger(__name__)

_MAX_BYTES = 1 << 20


class OpenEvents(Payload):
    """Content of the journal: events whose start was handed over and whose end the broker does not have."""

    schema_: Literal["edge-occ/open-events/1"] = Field("edge-occ/open-events/1", alias="schema")
    events: tuple[Event, ...] = ()


class EventJournal:
    """Open events and lock of one inspector; a context manager.

    Args:
        config: topics and broker, which identify the inspector; folder.

    Attributes:
        open: start messages of the open events, by id.

    Raises:
        InputError: on entering, where another inspector of this machine publishes on the same topics.
    """

    def __init__(self, config: MqttConfig) -> None:
        self._base = config.topics.base
        self._folder = config.state or default_folder()
        digest = sha256(f"{config.broker} {self._base}".encode()).hexdigest()[:12]
        self._name = re.sub(r"[^A-Za-z0-9_-]+", "-", self._base)[-60:] + f"-{digest}"
        self.open: dict[str, Event] = {}
        self._stack = ExitStack()
        self._usable = False
        self._warn = RateLimitedLog(_log.warning, max_messages=1)

    def __enter__(self) -> EventJournal:
        with ExitStack() as stack:
            try:
                if self._folder is None:
                    raise FileNotFoundError("no home folder")
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock(stack, self._folder / f"{self._name}.lock")
                self.open = {event.id: event for event in _read(self._events)}
                self._usable = True
            except OSError as error:
                _log.warning(
                    "no writable folder for the journal at %s (%s): an event that a crash interrupts is not ended, "
                    "and a second inspector is not detected; set mqtt.state",
                    self._folder,
                    error.strerror or error,
                )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def opened(self, event: Event) -> None:
        """Write an event to the journal, before its start is handed over."""
        self.open[event.id] = event
        self._write()

    def closed(self, identifier: str) -> None:
        """Remove an event from the journal."""
        if self.open.pop(identifier, None) is not None:
            self._write()

    @property
    def _events(self) -> Path:
        return Path(self._folder or ".") / f"{self._name}.events.json"

    def _lock(self, stack: ExitStack, path: Path) -> None:
        file = stack.enter_context(os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"one inspector for the topics {self._base}/...",
                f"another one on this machine, process {file.read(20).strip() or 'unknown'}",
                "give each camera a name: --set mqtt.camera=NAME",
            ) from None
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()

    def _write(self) -> None:
        if not self._usable:
            return
        try:
            if self.open:
                with atomic_write(self._events) as file:
                    file.write(OpenEvents(events=tuple(self.open.values())).to_json())
            else:
                self._events.unlink(missing_ok=True)
        except OSError as error:
            self._warn("write", "%s cannot be written: %s", self._events, error.strerror or error)


def default_folder() -> Path | None:
    """Return ``$STATE_DIRECTORY`` of systemd, ``$XDG_STATE_HOME/edge-occ`` or ``~/.local/state/edge-occ``.

    ``None`` for a user without a home.
    """
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME")
    try:
        return Path(home or Path.home() / ".local" / "state") / "edge-occ"
    except RuntimeError:
        return None


def _read(path: Path) -> tuple[Event, ...]:
    """Return the open events in a file; none if it is damaged, which is logged."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        return OpenEvents.model_validate_json(content).events
    except FileNotFoundError:
        return ()
    except ValidationError:
        _log.warning("%s is damaged: events that a crash interrupted are not ended", path)
        return ()
