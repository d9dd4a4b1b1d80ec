"""Access to the dashboard: the check of the Host header, the token, and the headers of every answer."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_occ.dashboard.access_token import Token

COOKIE = "edge-occ-dashboard"
"""Name of the cookie."""

LOGIN, STATIC = "/login", "/static/"
"""Paths that need no token: the form, and the files of the pages, which hold nothing of the line."""

_HOST = re.compile(r"\[(?P<v6>[0-9A-Fa-f:.]+)\](:\d+)?|(?P<name>[^:\[\]]+)(:\d+)?")
_HEADERS = {
    # The pages use files of this server alone, no inline script or style, and no assignment of HTML.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Another dashboard on the same host may show pictures; other sites may not.
    "Cross-Origin-Resource-Policy": "same-site",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware that lets only allowed requests through.

    A page of another site can make a browser resolve the site's own name to this machine (DNS rebinding).  Its requests
    have that name in the Host header, so only names of this machine and addresses, which cannot be rebound, are served.

    Args:
        app: the application.
        token: required of every request but those for the login; ``None`` requires none.
        hosts: further names of this machine.
    """

    def __init__(self, app: ASGIApp, token: Token | None, hosts: Iterable[str] = ()) -> None:
        name = socket.gethostname().lower()
        self._app, self._token = app, token
        self._hosts = {"localhost", name, f"{name}.local", *(host.lower() for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for key, value in _HEADERS.items():
                    headers.setdefault(key, value)
            await send(message)

        refusal = self._refusal(HTTPConnection(scope))
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: HTTPConnection) -> Response | None:
        if not self._is_allowed_host(request.headers.getlist("host")):
            text = "This server does not serve that host name; --allow-host NAME adds one.\n"
            return PlainTextResponse(text, 421)
        path = request.scope["path"]
        if path == LOGIN or path.startswith(STATIC) or self._may_read(request):
            return None
        if path == "/":
            return RedirectResponse(LOGIN, 303)
        return PlainTextResponse("A token is required.\n", 401, {"WWW-Authenticate": "Bearer"})

    def _is_allowed_host(self, headers: list[str]) -> bool:
        found = _HOST.fullmatch(headers[0].strip()) if len(headers) == 1 else None
        if found is None:
            return False
        name = (found["v6"] or found["name"]).lower().rstrip(".")
        return name in self._hosts or _is_address(name)

    def _may_read(self, request: HTTPConnection) -> bool:
        if self._token is None:
            return True
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._token.is_secret(secret):
            return True
        return self._token.is_session(request.cookies.get(COOKIE, ""))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
