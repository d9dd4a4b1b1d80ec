"""The dashboard as a whole: socket, subscriber and server, until it is stopped."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterable

import uvicorn

from edge_occ.common.errors import InputError
from edge_occ.dashboard.access_token import Token
from edge_occ.dashboard.limits import Limits
from edge_occ.dashboard.local import LocalFiles
from edge_occ.dashboard.server import make_app
from edge_occ.dashboard.subscriber import LineSubscriber
from edge_occ.mqtt.config import MqttConfig

_FAREWELL_SECONDS = 0.4
"""Time for answers to end by themselves."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(  # noqa: PLR0913 - one composition
    config: MqttConfig,
    host: str,
    port: int,
    stop: threading.Event,
    *,
    limits: Limits | None = None,
    token: Token | None = None,
    hosts: Iterable[str] = (),
    local: LocalFiles | None = None,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until ``stop`` is set.

    Args:
        config: broker and prefix; the broker may come later, and leave and come back.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        stop: ends it, within a second whatever browsers do.
        limits: bounds of memory, rates and connections.
        token: required of every reader, if given.
        hosts: further names of this machine that browsers may use.
        local: what is on this machine.
        on_ready: called with the address of the page once it is served.

    Raises:
        InputError: the port is taken, or the broker's address, credentials or certificates cannot be used.
    """
    limits = limits or Limits()
    with _listen(host, port) as listener, LineSubscriber(config, limits) as subscriber:
        stopping = threading.Event()
        app = make_app(subscriber, limits, stopping, token, {host, *hosts}, local)
        # Our own log and signals; X-Forwarded-For is not believed, as nothing is decided by it.
        settings = uvicorn.Config(
            app,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            limit_concurrency=256,
            timeout_keep_alive=5,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, args=([listener],), name="edge-occ dashboard server", daemon=True)
        thread.start()
        on_ready(f"http://{_for_browsers(listener)}/")
        try:
            while thread.is_alive() and not stop.wait(0.5):
                pass
        finally:
            stopping.set()
            server.should_exit = True
            thread.join(_FAREWELL_SECONDS)
            server.force_exit = True
            thread.join(_FAREWELL_SECONDS)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"an address to listen on: {host}, port {port}", found, "use another --port or --host"
        ) from None


def _for_browsers(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
