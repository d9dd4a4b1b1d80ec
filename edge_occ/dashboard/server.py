"""The web application: pages, pushes, pictures and health."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from edge_occ.common.errors import InputError
from edge_occ.dashboard.access import COOKIE, LOGIN, Guard
from edge_occ.dashboard.access_token import Token
from edge_occ.dashboard.limits import Limits
from edge_occ.dashboard.streams import BOUNDARY, Slots, pictures, pushes
from edge_occ.dashboard.subscriber import Subscriber

Mark = Callable[[str, str], object]
"""Keeps a label: path of an event's evidence, ``good`` or ``defect``.  Raises an InputError for anything else."""

_STATIC = Path(__file__).parent / "static"
_EVENT_STREAM = "text/event-stream"
_EVIDENCE = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".json": "application/json"}
_MAX_FORM = 4096
_APART = (
    "sandbox allow-scripts allow-downloads allow-modals; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; frame-ancestors 'none'"
)
"""Policy of a page that holds its script: it may draw, and save a file, but reads nothing of this server."""

_EVENT_LEVELS = 3
"""Levels of an event's folder: camera, day, event."""

_MONTH = 30 * 24 * 3600
_FAILED_LOGIN_SECONDS = 0.5
_HEARTBEAT_SECONDS = 5.0
"""Longest pause between two messages to a page, which shows that the server is away after three of them."""


@dataclass(frozen=True)
class LocalFiles:
    """Files of the machine that the page is on.

    Attributes:
        evidence: folder with the pictures that events refer to.
        mark: keeps a person's label of an event; used with a token only.
        review: page of the command ``review``, to which the dashboard has a link then.
    """

    evidence: Path | None = None
    mark: Mark | None = None
    review: Path | None = None


def make_app(
    subscriber: Subscriber,
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
    pages = _Pages(subscriber, limits, stopping, token, local or LocalFiles())
    routes = [
        Route("/", pages.index),
        Route(LOGIN, pages.login, methods=["GET", "POST"]),
        Route("/stream", pages.stream),
        Route("/events", pages.events),
        Route("/snapshot.jpg", pages.snapshot),
        Route("/preview.mjpg", pages.preview),
        Route("/evidence/{path:path}", pages.evidence),
        Route("/mark", pages.label),
        Route("/mark", pages.mark, methods=["POST"]),
        Route("/review", pages.review),
        Route("/healthz", pages.healthz),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
    return Guard(Starlette(routes=routes), token, hosts)


class _Pages:
    def __init__(
        self,
        subscriber: Subscriber,
        limits: Limits,
        stopping: threading.Event,
        token: Token | None,
        local: LocalFiles,
    ) -> None:
        self._mark = None if token is None else local.mark
        self._evidence, self._review = local.evidence, local.review
        self._subscriber, self._limits, self._stopping = subscriber, limits, stopping
        self._token = token
        self._streams, self._previews = Slots(limits.streams), Slots(limits.previews)
        self._instance = secrets.token_hex(4)

    async def index(self, _: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    async def login(self, request: Request) -> Response:
        if self._token is None:
            return RedirectResponse("/", 303)
        if request.method != "POST":
            return FileResponse(_STATIC / "login.html")
        given = parse_qs((await _body(request)).decode("utf-8", "replace")).get("token", [""])[0]
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
            evidence = self._evidence is not None
            line = {
                "broker": self._subscriber.broker(),
                "left_out": left_out,
                "evidence": evidence,
                "marks": self._mark is not None,
                "review": self._review is not None,
            }
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

    async def evidence(self, request: Request) -> Response:
        path = self._evidence_file(request.path_params["path"])
        if path is None:
            return PlainTextResponse("No such evidence on this machine.\n", 404)
        return FileResponse(path, media_type=_EVIDENCE[path.suffix.lower()])

    async def label(self, request: Request) -> Response:
        """The label of an event, by a path of its evidence; empty without one."""
        event = "/".join(request.query_params.get("evidence", "").split("/")[:_EVENT_LEVELS])
        path = self._evidence_file(f"{event}/label.json")
        if path is None:
            return JSONResponse({"label": ""})
        return FileResponse(path, media_type=_EVIDENCE[".json"])

    async def mark(self, request: Request) -> Response:
        """Keep a label: ``{"evidence": path of an event's evidence, "label": "good" or "defect"}``."""
        if self._mark is None:
            return PlainTextResponse("Marks need a token and --evidence.\n", 403)
        # Forms of other sites cannot send JSON; the cookie is not sent with their requests either.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return PlainTextResponse("JSON is expected.\n", 415)
        try:
            content = json.loads(await _body(request))
            self._mark(str(content["evidence"]), str(content["label"]))
        except InputError as error:
            return PlainTextResponse(f"{error}\n", 400)
        except (ValueError, KeyError, TypeError, RecursionError):
            return PlainTextResponse('{"evidence": ..., "label": ...} is expected.\n', 400)
        return Response(status_code=204)

    async def review(self, _: Request) -> Response:
        """The page of the command ``review``: one file with its own script, apart from everything else here."""
        if self._review is None or not self._review.is_file():
            return PlainTextResponse("No review page on this machine; --review FILE names one.\n", 404)
        return FileResponse(self._review, media_type="text/html", headers={"Content-Security-Policy": _APART})

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
            heatmap = state.heatmap(query.get("device", ""), query.get("camera", ""))
        return None if heatmap is None else (heatmap.revision, heatmap.jpeg)

    def _evidence_file(self, name: str) -> Path | None:
        """Return a file of the evidence folder; links that lead out of it are not followed."""
        if self._evidence is None or "\0" in name:
            return None
        root = self._evidence.resolve()
        try:
            path = (root / name).resolve()
            usable = path.is_relative_to(root) and path.suffix.lower() in _EVIDENCE and path.is_file()
        except (OSError, RuntimeError):  # a name too long for the file system, a circle of links
            return None
        return path if usable else None


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM:
            return b""
    return body


def _no_heatmap() -> Response:
    return PlainTextResponse("No heatmap of that device and camera.\n", 404)
