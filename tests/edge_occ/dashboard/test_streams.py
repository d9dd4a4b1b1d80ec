"""Answers without an end, to readers that take their time."""

import asyncio
import json
import threading

from edge_occ.dashboard import streams
from edge_occ.dashboard.streams import Slots, pictures, pushes

SCOPE = {"type": "http", "asgi": {"spec_version": "2.3"}, "method": "GET", "path": "/", "headers": []}


class Counter:
    """Something that changes every time that it is looked at."""

    def __init__(self):
        self.value, self.since = 0, []

    def changes(self, since):
        self.since.append(since)
        self.value += 1
        return self.value, {"value": self.value}


async def nothing_more():
    await asyncio.sleep(3600)


def test_nothing_is_made_for_a_browser_that_does_not_read():
    """Pushes that it has not taken are never made, so that nothing waits for it."""
    counter, stopping, sent = Counter(), threading.Event(), []

    async def read():
        taken = asyncio.Semaphore(3)

        async def send(message):
            await taken.acquire()
            sent.append(message)

        answer = Slots(1).stream(pushes(counter.changes, 10_000, stopping), "text/event-stream")
        task = asyncio.create_task(answer(SCOPE, nothing_more, send))
        while len(sent) < 3:
            await asyncio.sleep(0.001)
        for _ in range(200):
            await asyncio.sleep(0.001)
        assert counter.value == 3, "two that were read, and the one that waits"
        taken.release()
        while len(sent) < 4:
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(read())
    values = [json.loads(message["body"].split(b"data: ")[1])["value"] for message in sent[1:]]
    assert values == [1, 2, 3]
    assert counter.since[:3] == [0, 1, 2]


def test_a_browser_that_never_reads_gives_its_place_back(monkeypatch):
    monkeypatch.setattr(streams, "_STUCK_SECONDS", 0.01)
    slots, stopping = Slots(1), threading.Event()

    async def stuck(message):
        if message["type"] == "http.response.body":
            await nothing_more()

    async def read():
        answer = slots.stream(pushes(Counter().changes, 10_000, stopping), "text/event-stream")
        assert slots.stream(pushes(Counter().changes, 1, stopping), "text/event-stream").status_code == 503
        await answer(SCOPE, nothing_more, stuck)
        assert slots.stream(pushes(Counter().changes, 1, stopping), "text/event-stream").status_code == 200

    asyncio.run(read())


async def collected(chunks, stopping, count):
    found = []
    async for chunk in chunks:
        found.append(chunk)
        if len(found) == count:
            stopping.set()
    return found


def test_pushes_end_when_the_server_stops():
    stopping = threading.Event()
    found = asyncio.run(collected(pushes(Counter().changes, 10_000, stopping, 5, "x"), stopping, 2))
    assert found == [b'id: x-1\ndata: {"value":1}\n\n', b'id: x-2\ndata: {"value":2}\n\n']


def test_a_reader_hears_now_and_then_that_nothing_changed(monkeypatch):
    monkeypatch.setattr(streams, "_IDLE_SECONDS", 0.01)
    stopping = threading.Event()
    found = asyncio.run(collected(pushes(lambda since: (since, None), 10_000, stopping), stopping, 2))
    assert found == [b": alive\n\n"] * 2


def test_a_picture_is_sent_once_and_again_after_a_pause(monkeypatch):
    stopping, looked = threading.Event(), []

    def latest():
        looked.append(None)
        if len(looked) == 50:
            monkeypatch.setattr(streams, "_IDLE_SECONDS", -1.0)
        return (1, b"jpeg") if len(looked) > 10 else None

    found = asyncio.run(collected(pictures(latest, 10_000, stopping), stopping, 3))
    assert found[0] == b"--edge-occ-frame\r\n"
    assert found[1] == found[2] == b"Content-Type: image/jpeg\r\nContent-Length: 4\r\n\r\njpeg\r\n--edge-occ-frame\r\n"
    assert len(looked) == 50
