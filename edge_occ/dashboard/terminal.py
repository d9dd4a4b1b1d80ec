"""A line in the terminal, drawn anew some times a second while messages arrive."""

from __future__ import annotations

import threading
from datetime import datetime, timezone

from rich.console import Console, RenderableType
from rich.live import Live

from edge_occ.dashboard.state import LineState
from edge_occ.dashboard.terminal_table import line_tables
from edge_occ.mqtt.received import Received

_HZ = 4


class TerminalView:
    """Shows what was taken; a context manager that leaves the last picture on the terminal.

    Args:
        console: of the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._state, self._lock = console, LineState(), threading.Lock()
        self._session = 0
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=_HZ, transient=False)

    def __enter__(self) -> TerminalView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def take(self, received: Received, session: int) -> None:
        """Take a message, and the number of the connection by which it came: in between, some may have been missed."""
        with self._lock:
            if session > max(self._session, 1):
                self._state.miss()
            self._session = session
            self._state.apply(received)

    def _render(self) -> RenderableType:
        with self._lock:
            self._state.tick(datetime.now(timezone.utc))
            tiles, events = self._state.changes(), self._state.events()
        ascii_only = not self._console.encoding.lower().startswith("utf")
        return line_tables(tiles, events, self._console.height, ascii_only=ascii_only)
