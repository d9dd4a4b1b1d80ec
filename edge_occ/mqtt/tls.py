"""The TLS context of a connection to a broker; no connection is made here."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from edge_occ.common.errors import InputError
from edge_occ.common.secret import secret
from edge_occ.mqtt.broker import Broker

PASSPHRASE = "EDGE_OCC_MQTT_KEY_PASSPHRASE"  # noqa: S105 - the name of the variable
"""Environment variable with the passphrase of ``mqtt.key``, see :func:`edge_occ.common.secret.secret`."""


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of a connection, and the name that the broker's certificate must have.

    Attributes:
        ca: the authority that signed the broker's certificate; ``None`` for those that the system knows.
        cert: this device's certificate.
        key: its private key, which may be encrypted.
        server_name: name in the broker's certificate; ``None`` for the host of its address.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None


class _NamedContext(ssl.SSLContext):
    """A context that asks for a server's certificate, and checks it, by another name than the one it is reached by."""

    server_name: str | None = None

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """Begin TLS on a socket."""
        name = self.server_name or server_hostname
        return super().wrap_socket(sock, server_side, do_handshake_on_connect, suppress_ragged_eofs, name, session)


def tls_context(broker: Broker, files: TlsFiles) -> ssl.SSLContext | None:
    """Return a context of TLS 1.2 or newer that verifies the broker; ``None`` for an address without TLS.

    Raises:
        InputError: files or a name with a plain address, a certificate without its key, unreadable files, or a key
            whose passphrase is missing or wrong.
    """
    named = {"mqtt.ca": files.ca, "mqtt.cert": files.cert, "mqtt.key": files.key}
    given = [name for name, file in named.items() if file is not None]
    if not broker.tls:
        if given or files.server_name:
            found = f"{broker} together with {(given or ['mqtt.server_name'])[0]}"
            raise InputError("certificates with an encrypted broker only", found, "use --broker mqtts://host[:port]")
        return None
    if (files.cert is None) != (files.key is None):
        raise InputError("mqtt.cert and mqtt.key together", f"only {given[-1]}", "set both, or neither")
    for name, file in named.items():
        if file is not None and not file.is_file():
            raise InputError(f"a PEM file as {name}", f"no file {file}", f"correct {name}")
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    # As strict as Python's own contexts, which newer versions make stricter.
    usual = ssl.create_default_context()
    context.options, context.verify_flags = usual.options, usual.verify_flags
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.server_name = files.server_name
    try:
        if files.ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(files.ca)
        if files.cert is not None:
            _load_certificate(context, files.cert, files.key)
    except OSError as error:  # ssl.SSLError is one
        raise InputError(f"PEM files as {', '.join(given)}", str(error), "check the files with openssl x509") from None
    return context


def _load_certificate(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    asked = False

    def passphrase() -> str:
        nonlocal asked
        asked = True
        # Without one, OpenSSL would ask on the terminal; it refuses an empty one.
        return secret(PASSPHRASE) or ""

    try:
        context.load_cert_chain(cert, key, password=passphrase)
    except OSError:
        if not asked:
            raise
        found = f"{key}, which is encrypted, and {'another' if secret(PASSPHRASE) else 'no'} passphrase"
        raise InputError("the passphrase of mqtt.key", found, f"set {PASSPHRASE} or {PASSPHRASE}_FILE") from None
