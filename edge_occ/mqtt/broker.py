"""Address of a broker and the credentials for it; no connection is made here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from edge_occ.common.errors import InputError
from edge_occ.common.secret import secret
from edge_occ.mqtt.topics import mqtt_string

USERNAME, PASSWORD = "EDGE_OCC_MQTT_USERNAME", "EDGE_OCC_MQTT_PASSWORD"
"""Environment variables with the credentials, see :func:`edge_occ.common.secret.secret`."""

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LABEL = "[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?|(?=.*:)[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?")
_EXPECTED = "a broker like mqtt://host:1883 or mqtts://host:8883"


@dataclass(frozen=True)
class Broker:
    """Address of a broker.

    Attributes:
        host: name or IP address.
        port: TCP port.
        tls: whether the connection is encrypted.
    """

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_broker(url: str) -> Broker:
    """Parse ``mqtt://host[:port]``, ``mqtts://host[:port]`` or ``host[:port]``.

    Raises:
        InputError: any other address; credentials in it are refused and not repeated.
    """
    if "@" in url:
        raise InputError(
            _EXPECTED,
            "credentials in the address, where logs and process lists show them",
            f"set the environment variables {USERNAME} and {PASSWORD} instead",
        )
    advice = "use --broker mqtt://host[:port]"
    try:
        parts = urlsplit(url if "://" in url else f"mqtt://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(_EXPECTED, f"{url!r} ({error})", advice) from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise InputError(_EXPECTED, f"{url!r}, which has an unknown scheme", advice)
    if not host or not _HOST.fullmatch(host) or port == 0:
        raise InputError(_EXPECTED, f"{url!r}, without a usable host or port", advice)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise InputError(
            _EXPECTED, f"{url!r}, with a path, query or fragment", f"{advice}; topics begin with mqtt.prefix"
        )
    return Broker(host, port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "mqtts")


def credentials(environment: Mapping[str, str] = os.environ) -> tuple[str | None, str | None]:
    """Return user name and password from the environment, or files that it names; ``None`` where one is not set.

    Raises:
        InputError: a file that cannot be read, a password without a user name, which MQTT 3.1.1 cannot carry, or a name
            that MQTT cannot carry.
    """
    username, password = secret(USERNAME, environment), secret(PASSWORD, environment)
    if password is not None and username is None:
        raise InputError("a user name with the password", f"{PASSWORD} alone", f"set {USERNAME} too")
    if username is not None and username != mqtt_string(username, len(username) * 4):
        found = "one with a control character, such as a line break"
        raise InputError(f"a user name in {USERNAME} that MQTT can carry", found, f"set {USERNAME} without it")
    return username, password
