"""Files of the machine that the dashboard is served from: evidence of events, labels, the page of the review."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from edge_occ.common.errors import InputError

Mark = Callable[[str, str], object]
"""Keeps a label: path of an event's evidence, ``good`` or ``defect``.  Raises an InputError for anything else."""

_EVIDENCE = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".json": "application/json"}
_MAX_FORM = 4096
_APART = (
    "sandbox allow-scripts allow-downloads allow-modals; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; frame-ancestors 'none'"
)
"""Policy of a page that holds its script: it may draw, and save a file, but reads nothing of this server."""

_EVENT_LEVELS = 3
"""Levels of an event's folder: camera, day, event."""


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


class LocalPages:
    """Answers to requests for these files.

    Args:
        files: where they are.
        marks: whether labels are kept.
    """

    def __init__(self, files: LocalFiles, *, marks: bool) -> None:
        self._evidence, self._review = files.evidence, files.review
        self._mark = files.mark if marks else None

    @property
    def there(self) -> dict[str, bool]:
        """Available local files, by kind."""
        evidence, marks, review = (part is not None for part in (self._evidence, self._mark, self._review))
        return {"evidence": evidence, "marks": marks, "review": review}

    async def evidence(self, request: Request) -> Response:
        """A picture or record of an event."""
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
            content = json.loads(await read_form(request))
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


async def read_form(request: Request) -> bytes:
    """Return the body of a request; nothing of one that is longer than any form."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM:
            return b""
    return body
