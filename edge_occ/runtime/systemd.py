"""What systemd is told of a unit of ``Type=notify``: sd_notify(3), which is one datagram."""

from __future__ import annotations

import socket
from contextlib import suppress

SOCKET = "NOTIFY_SOCKET"
"""Environment variable in which systemd names its socket."""


class Systemd:
    """A sign of life for systemd: the first says that the unit has started, each that it is alive.

    Args:
        address: path of the socket, or a name of the abstract name space behind an ``@``.
    """

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._message = b"READY=1\nWATCHDOG=1"

    def __call__(self) -> None:
        """Send it; a supervisor that does not listen must not stop the line."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(self._message, socket.MSG_DONTWAIT, self._address)
            self._message = b"WATCHDOG=1"
