"""A broker inside this process, for the demo and for tests: amqtt, MQTT 3.1.1, loopback only."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from types import TracebackType

from edge_occ.common.errors import InputError

_log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_START_SECONDS = 10.0
_LOGGERS = ("amqtt", "transitions")


def broker_answers(host: str, port: int, timeout: float = 1.0) -> bool:
    """Return whether a server accepts TCP connections there within ``timeout`` seconds."""
    try:
        with socket.create_connection((host, port), timeout):
            return True
    except OSError:
        return False


class EmbeddedBroker:
    """A broker on ``127.0.0.1`` in its own thread; a context manager.

    It needs no password and stores nothing on disk.

    Args:
        port: a free TCP port.

    Raises:
        InputError: on entering, where amqtt is not installed or the port is taken.
    """

    PROTOCOL = "v3.1.1"
    """The protocol of amqtt; a client set to it does not try MQTT 5 for two seconds first."""

    def __init__(self, port: int = 1883) -> None:
        self.port = port
        self._thread = threading.Thread(target=self._run, name="edge-occ-broker", daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._serving = False
        self._fault = "a broker that did not start in time"
        self._levels: dict[str, int] = {}

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"mqtt://{_HOST}:{self.port}"

    def __enter__(self) -> EmbeddedBroker:
        try:
            import amqtt.broker  # noqa: F401, PLC0415 - optional: a device has a real broker
        except ImportError as error:
            raise InputError(
                "the package amqtt for the embedded broker",
                f"none ({error})",
                "pip install 'edge-occ[demo]', or use a real broker: apt install mosquitto",
            ) from None
        self._levels = {name: logging.getLogger(name).level for name in _LOGGERS}
        for name in _LOGGERS:  # amqtt logs a client that closes its socket as an error
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._thread.start()
        self._started.wait(_START_SECONDS)
        if not self._serving:
            self.close()
            expected = f"TCP port {self.port} free for the embedded broker"
            raise InputError(expected, self._fault, "use another port, or the broker on it with --broker")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect every client and end the thread."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._started.set()

    async def _serve(self) -> None:
        from amqtt.broker import Broker  # noqa: PLC0415
        from amqtt.errors import BrokerError  # noqa: PLC0415

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        # amqtt does not handle errors of broken connections, which asyncio would print with a traceback.
        self._loop.set_exception_handler(lambda _, context: _log.debug("%s", context.get("message")))
        broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{_HOST}:{self.port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        handle = broker.stream_connected

        async def handle_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, **options: str) -> None:
            try:
                await handle(reader, writer, **options)
            finally:
                writer.close()  # amqtt does not close the connection after a malformed packet

        broker.stream_connected = handle_and_close
        try:
            await broker.start()
        except BrokerError as error:
            self._fault = str(error)
            return
        self._serving = True
        self._started.set()
        await self._stop.wait()
        await broker.shutdown()
