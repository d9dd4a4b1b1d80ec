"""A dashboard that is served for a test, and messages for its state."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

from mqtt_helpers import PATIENCE

from edge_occ.dashboard.local import LocalFiles
from edge_occ.dashboard.serve import serve
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.payload_base import Message
from edge_occ.mqtt.payloads import DeviceState, DeviceStatus, Event, HeatmapInfo, Score, VerdictName
from edge_occ.mqtt.received import Received
from edge_occ.mqtt.stats_payload import Stats

BEGIN = datetime(2026, 1, 1, 8, tzinfo=timezone.utc)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def milliseconds(seconds: float) -> int:
    return round(at(seconds).timestamp() * 1000)


def received(
    message: Message,
    seconds: float = 0,
    device: str = "press-1",
    camera: str | None = None,
    *,
    place: str = "",
    jpeg: bytes | None = None,
    retained: bool = False,
) -> Received:
    kind = message.schema_.split("/")[1]
    topic, moment = f"edge-occ/{device}/{kind}", at(seconds)
    return Received(topic, place, device, camera, kind, message, jpeg, moment, seconds, retained)


def score(
    value: float = 0.5,
    verdict: str = "normal",
    seconds: float = 0,
    threshold: float = 1.0,
    review_threshold: float | None = None,
) -> Score:
    return Score(
        frame=1,
        captured_at=at(seconds),
        score=value,
        p_value=0.5,
        threshold=threshold,
        review_threshold=threshold if review_threshold is None else review_threshold,
        verdict=VerdictName(verdict),
        latency_ms=3,
    )


def event(id_: str = "e", phase: str = "start", peak: float = 2.0, seconds: float = 0, **more: object) -> Event:
    given = {"frame": 1, "captured_at": at(seconds), "id": id_, "phase": phase, "peak": peak, "frames": 1}
    return Event.model_validate({**given, "boxes": [], "historical": False, **more})


def status(state: str, detail: str | None = None, seconds: float = 0) -> DeviceStatus:
    return DeviceStatus(state=DeviceState(state), detail=detail, ts=milliseconds(seconds))


def heatmap(value: float = 0.5, seconds: float = 0) -> HeatmapInfo:
    return HeatmapInfo(frame=1, captured_at=at(seconds), score=value, verdict=VerdictName.NORMAL)


def stats(seconds: float = 0, **more: object) -> Stats:
    queue = {"depth": 0, "dropped": 0}
    given = {"sent_at": at(seconds), "frames": 9, "fps": 3.5, "dropped": 2, "engine": "cpu fp32", "bundle": "part"}
    queues = {"score": queue, "event": queue, "heatmap": queue}
    return Stats.model_validate({**given, "queues": queues, **more})


class Dashboard:
    """A served dashboard.

    Attributes:
        url: of the page, with a slash at its end.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, method: str = "GET", body: str | None = None, **headers: str):
        """Status, headers and body of an answer; underscores in the names of headers are hyphens."""
        with self.connection() as connection:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def json(self, path: str):
        return json.loads(self.get(path)[2])

    @contextlib.contextmanager
    def connection(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)
        try:
            yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def pushes(self, path: str = "/stream", **headers: str) -> Iterator[Iterator[tuple[str, dict]]]:
        """Ids and JSON of server-sent events."""
        with self.connection() as connection:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET", path, headers={"Accept": "text/event-stream", **names})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            yield _events(answer)


def _events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, dict]]:
    name, deadline = "", time.monotonic() + PATIENCE
    for line in answer:
        assert time.monotonic() < deadline, "nothing was pushed"
        if line.startswith(b"id: "):
            name = line[4:].decode().strip()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])
            deadline = time.monotonic() + PATIENCE


@contextlib.contextmanager
def dashboard(config: MqttConfig, port: int = 0, **options) -> Iterator[Dashboard]:
    """Served until the end of the block; port 0 takes a free one.  Options are those of serve() and of LocalFiles."""
    local = {name: options.pop(name) for name in ("evidence", "mark", "review") if name in options}
    stop, ready = threading.Event(), threading.Event()
    urls: list[str] = []

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    thread = threading.Thread(
        target=serve,
        args=(config, "127.0.0.1", port, stop),
        kwargs={**options, "local": LocalFiles(**local), "on_ready": on_ready},
    )
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield Dashboard(urls[0])
    finally:
        stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
