"""Answers that do not end: pushes to browsers and motion pictures, bounded in number, rate and memory."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

BOUNDARY = "edge-occ-frame"
"""Between the pictures of a preview."""

_IDLE_SECONDS = 5.0
"""Longest pause between two messages, by which a reader knows that the connection lives."""
_STUCK_SECONDS = 30.0
"""A reader that takes nothing for so long is disconnected."""


class Slots:
    """Places for so many readers at a time.

    Args:
        count: number of places.
    """

    def __init__(self, count: int) -> None:
        self._free = count

    def stream(self, chunks: AsyncIterator[bytes], media_type: str) -> Response:
        """Return an answer of ``chunks``, or status 503 where every place is taken."""
        if self._free <= 0:
            return PlainTextResponse("Too many readers at a time.\n", 503, {"Retry-After": "10"})
        self._free -= 1
        return _Stream(chunks, self._release, media_type)

    def _release(self) -> None:
        self._free += 1


class _Stream(StreamingResponse):
    """Waits for its reader, so that no more than one chunk and the system's buffers wait with it."""

    def __init__(self, chunks: AsyncIterator[bytes], release: Callable[[], None], media_type: str) -> None:
        super().__init__(chunks, media_type=media_type, headers={"X-Accel-Buffering": "no"})
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope() as stuck:

            async def send_in_time(message: Message) -> None:
                stuck.deadline = anyio.current_time() + _STUCK_SECONDS
                await send(message)
                stuck.deadline = math.inf

            try:
                await super().__call__(scope, receive, send_in_time)
            finally:
                self._release()


async def pushes(
    changes: Callable[[int], tuple[int, dict[str, Any] | None]],
    hertz: float,
    stopping: threading.Event,
    since: int = 0,
    instance: str = "",
) -> AsyncIterator[bytes]:
    """Yield server-sent events: what changed since the one before, at most ``hertz`` times a second.

    Args:
        changes: from a revision to the current one and JSON of what changed; ``None`` if nothing did.
        hertz: messages a second at most.
        stopping: ends the iteration when set.
        since: revision that the reader has.
        instance: identifies the server in the ids of the events.
    """
    sent = 0.0
    while not stopping.is_set():
        since, content = changes(since)
        now = time.monotonic()
        if content is not None:
            yield f"id: {instance}-{since}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n".encode()
            sent = now
        elif now - sent > _IDLE_SECONDS:
            yield b": alive\n\n"
            sent = now
        await asyncio.sleep(1 / hertz)


async def pictures(
    latest: Callable[[], tuple[int, bytes] | None], hertz: float, stopping: threading.Event
) -> AsyncIterator[bytes]:
    """Yield parts of ``multipart/x-mixed-replace``: each new picture, at most ``hertz`` a second.

    Args:
        latest: the number and the JPEG of the latest picture, if there is one.
        hertz: pictures a second at most.
        stopping: ends the iteration when set.
    """
    shown, sent = -1, 0.0
    yield f"--{BOUNDARY}\r\n".encode()
    while not stopping.is_set():
        found, now = latest(), time.monotonic()
        if found is not None and (found[0] != shown or now - sent > _IDLE_SECONDS):
            shown, jpeg = found
            sent = now
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            # A browser shows a picture once it has read the boundary behind it.
            yield head + jpeg + f"\r\n--{BOUNDARY}\r\n".encode()
        await asyncio.sleep(1 / hertz)
