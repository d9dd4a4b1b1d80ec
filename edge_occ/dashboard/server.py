"""The web application: pages, pushes, pictures and health."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from edge_occ.dashboard.access import COOKIE, LOGIN, Guard
from edge_occ.dashboard.access_token import Token
from edge_occ.dashboard.limits import Limits
from edge_occ.dashboard.local import LocalFiles, LocalPages, read_form
from edge_occ.dashboard.streams import BOUNDARY, Slots, pictures, pushes
from edge_occ.dashboard.subscriber import LineSubscriber

_STATIC = Path(__file__).parent / "static"
_EVENT_STREAM = "text/event-stream"
_MONTH = 30 * 24 * 3600
_FAILED_LOGIN_SECONDS = 0.5
_HEARTBEAT_SECONDS = 5.0
"""Longest pause between two messages to a page, which shows that the server is away after three of them."""


def make_app(
    subscriber: LineSubscriber,
    limits: Limits,
    stopping: threading.Event,
    token: Token | None = None,
    hosts: Iterable[str] = (),
    local: LocalFiles | None = None,
) -> ASGIApp:
    """Return the application.

    Args:
        subscriber: source of everything that is shown.
        limits: rates and numbers of connections.
        stopping: ends all answers when set.
        token: required of every reader, if given.
        hosts: further names under which it is served.
        local: what is on this machine.
    """
    own = LocalPages(local or LocalFiles(), marks=token is not None)
    pages = _Pages(subscriber, limits, stopping, token, own)
    routes = [
        Route("/", pages.index),
        Route(LOGIN, pages.login, methods=["GET", "POST"]),
        Route("/stream", pages.stream),
        Route("/events", pages.events),
        Route("/snapshot.jpg", pages.snapshot),
        Route("/preview.mjpg", pages.preview),
        Route("/evidence/{path:path}", own.evidence),
        Route("/mark", own.label),
        Route("/mark", own.mark, methods=["POST"]),
        Route("/review", own.review),
        Route("/healthz", pages.healthz),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
    return Guard(Starlette(routes=routes), token, hosts)


class _Pages:
    def __init__(
        self,
        subscriber: LineSubscriber,
        limits: Limits,
        stopping: threading.Event,
        token: Token | None,
        local: LocalPages,
    ) -> None:
        self._subscriber, self._limits, self._stopping = subscriber, limits, stopping
        self._token, self._local = token, local
        self._streams, self._previews = Slots(limits.streams), Slots(limits.previews)
        self._instance = secrets.token_hex(4)

    async def index(self, _: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    async def login(self, request: Request) -> Response:
        if self._token is None:
            return RedirectResponse("/", 303)
        if request.method != "POST":
            return FileResponse(_STATIC / "login.html")
        given = parse_qs((await read_form(request)).decode("utf-8", "replace")).get("token", [""])[0]
        if not self._token.is_secret(given.strip()):
            await asyncio.sleep(_FAILED_LOGIN_SECONDS)
            return RedirectResponse(f"{LOGIN}#refused", 303)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, self._token.session, max_age=_MONTH, httponly=True, samesite="strict")
        return answer

    async def stream(self, _: Request) -> Response:
        """Everything the page shows: first as a whole, then what changes."""
        before: dict[str, Any] | None = None
        sent = 0.0

        def changes(since: int) -> tuple[int, dict[str, Any] | None]:
            nonlocal before, sent
            with self._subscriber.state() as state:
                tiles, revision, left_out = state.changes(since), state.revision, state.left_out
            line = {"broker": self._subscriber.broker(), "left_out": left_out, **self._local.there}
            now = time.monotonic()
            if not tiles and line == before and now - sent < _HEARTBEAT_SECONDS:
                return revision, None
            before, sent = line, now
            return revision, {"now": round(time.time() * 1000), "whole": since == 0, **line, "tiles": tiles}

        # Whatever the reader had, its first message is whole.
        return self._push(changes, 0)

    async def events(self, request: Request) -> Response:
        if _EVENT_STREAM not in request.headers.get("accept", ""):
            with self._subscriber.state() as state:
                return JSONResponse(state.events())

        def changes(since: int) -> tuple[int, dict[str, Any] | None]:
            with self._subscriber.state() as state:
                events, revision = state.events(since), state.revision
            return revision, {"events": events} if events else None

        with self._subscriber.state() as state:
            revision = state.revision
        last = request.headers.get("last-event-id")
        return self._push(changes, revision if last is None else self._revision_of(last))

    async def snapshot(self, request: Request) -> Response:
        found = self._latest(request)
        return _no_heatmap() if found is None else Response(found[1], media_type="image/jpeg")

    async def preview(self, request: Request) -> Response:
        if self._latest(request) is None:
            return _no_heatmap()
        chunks = pictures(lambda: self._latest(request), self._limits.previews_hz, self._stopping)
        return self._previews.stream(chunks, f"multipart/x-mixed-replace; boundary={BOUNDARY}")

    async def healthz(self, _: Request) -> Response:
        broker = self._subscriber.broker()
        with self._subscriber.state() as state:
            counts = {"devices": state.devices, "messages": state.messages, "left_out": state.left_out}
        content = {"broker_connected": broker["connected"], "broker": broker["address"], **counts}
        return JSONResponse(content, 200 if broker["connected"] else 503)

    def _push(self, changes: Any, since: int) -> Response:  # noqa: ANN401 - the type of pushes()
        chunks = pushes(changes, self._limits.pushes_hz, self._stopping, since, self._instance)
        return self._streams.stream(chunks, _EVENT_STREAM)

    def _revision_of(self, event_id: str) -> int:
        """Return the revision in an id of ours; 0 for one of an earlier server."""
        instance, _, revision = event_id.partition("-")
        return int(revision) if instance == self._instance and revision.isdecimal() and len(revision) < 18 else 0

    def _latest(self, request: Request) -> tuple[int, bytes] | None:
        query = request.query_params
        with self._subscriber.state() as state:
            heatmap = state.heatmap(query.get("device", ""), query.get("camera", ""), query.get("place", ""))
        return None if heatmap is None else (heatmap.revision, heatmap.jpeg)


def _no_heatmap() -> Response:
    return PlainTextResponse("No heatmap of that device and camera.\n", 404)
