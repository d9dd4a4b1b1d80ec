"""sd_notify(3) for a unit of ``Type=notify``: one datagram a message."""

from __future__ import annotations

import socket
from contextlib import suppress

SOCKET = "NOTIFY_SOCKET"
"""Environment variable in which systemd gives the address of its socket."""


class Systemd:
    """Notifies systemd: the first call reports that the unit is ready, each call that it is alive.

    Args:
        address: path of the socket, or ``@`` and a name in the abstract name space.
    """

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._message = b"READY=1\nWATCHDOG=1"

    def __call__(self) -> None:
        """Send the notification; an error is ignored, because a missing supervisor must not stop the inspection."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(self._message, socket.MSG_DONTWAIT, self._address)
            self._message = b"WATCHDOG=1"
