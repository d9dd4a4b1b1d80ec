"""The token that opens the dashboard: from the environment, or a file that is made where there is none."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from edge_occ.common.errors import InputError
from edge_occ.common.files import atomic_write
from edge_occ.common.state_folder import state_folder

VARIABLE = "EDGE_OCC_DASHBOARD_TOKEN"
"""Environment variable that may hold the token."""

_MIN_LENGTH, _MAX_LENGTH = 16, 1000


class Token:
    """A secret, and what a browser keeps in its place.

    Args:
        secret: 16 to 1000 printable ASCII characters without a space.

    Attributes:
        session: value of a browser's cookie; the secret does not follow from it, and a new secret makes it invalid.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self.session = hmac.new(self._secret, b"edge-occ dashboard session", hashlib.sha256).hexdigest()

    def is_secret(self, given: str) -> bool:
        """Compare with the secret, in constant time."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._secret)

    def is_session(self, given: str) -> bool:
        """Compare with the value of the cookie, in constant time."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.session.encode())


def token_from_environment(environment: Mapping[str, str] = os.environ) -> Token | None:
    """Return the token of ``EDGE_OCC_DASHBOARD_TOKEN``; ``None`` if it is not set.

    Raises:
        InputError: it is too short, too long, or has spaces or other characters than ASCII.
    """
    secret = environment.get(VARIABLE)
    return Token(_checked(secret, VARIABLE)) if secret else None


def token_from_file(path: Path) -> tuple[Token, bool]:
    """Return the token in a file, and whether it was made now.

    Raises:
        InputError: others can read or write the file, this user cannot, or it holds no token.
    """
    try:
        if not path.exists():
            secret = secrets.token_urlsafe(32)
            with atomic_write(path, mode=0o600) as made:
                made.write(secret.encode() + b"\n")
            return Token(secret), True
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_LENGTH + 2)
    except OSError as error:
        found = error.strerror or str(error)
        raise InputError(f"a token in {path}", found, f"use --token-file FILE, or set {VARIABLE}") from None
    if mode & 0o077:
        found = f"mode {mode:o}: others can read or write it"
        raise InputError(f"a file of this user alone: {path}", found, f"chmod 600 {path}, or remove it for a new token")
    return Token(_checked(content.decode("utf-8", "replace").strip(), str(path))), False


def default_token_file() -> Path:
    """Return ``dashboard-token`` in the folder where edge-occ keeps its state.

    Raises:
        InputError: this user has no home folder.
    """
    folder = state_folder()
    if folder is None:
        raise InputError("a home folder for the token", "none", f"use --token-file FILE, or set {VARIABLE}")
    return folder / "dashboard-token"


def _checked(secret: str, where: str) -> str:
    usable = secret.isascii() and secret.isprintable() and " " not in secret
    if usable and _MIN_LENGTH <= len(secret) <= _MAX_LENGTH:
        return secret
    found = f"{len(secret)} characters" if usable else "a space, or a character that is not ASCII"
    expected = f"{_MIN_LENGTH} to {_MAX_LENGTH} ASCII characters without a space in {where}"
    raise InputError(expected, found, "make one: python3 -c 'import secrets; print(secrets.token_urlsafe())'")
