"""Reasons why a broker cannot be reached or does not accept a client, each with advice."""

from __future__ import annotations

import socket
import ssl
from typing import NamedTuple

from edge_occ.common.errors import InputError
from edge_occ.mqtt.broker import PASSWORD, USERNAME, Broker
from edge_occ.mqtt.client.paho_client import SOCKET_SECONDS
from edge_occ.mqtt.config import MqttConfig

_ALERT_SECONDS = 1.0
_EXPIRED, _NOT_YET_VALID, _REVOKED = 10, 9, 23
_WRONG_NAME = (62, 64)  # of a host, of an IP address
_UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
"""Codes of X509_verify_cert_error_string(3)."""
_CREDENTIALS = ("Bad user name or password", "Not authorized", "Bad authentication method")
_BUSY = ("Server unavailable", "Server busy", "Quota exceeded", "Connection rate exceeded")


class Failure(NamedTuple):
    """A failed connection.

    Attributes:
        found: what was found.
        advice: what to type next.
        final: the broker answers and does not accept this client, or cannot be trusted: waiting does not help.
    """

    found: str
    advice: str
    final: bool = False


def refusal(broker: Broker, cause: Failure) -> InputError:
    """Return the error for a broker that cannot be reached or does not accept this client."""
    found = f"{cause.found[0].lower()}{cause.found[1:]}"
    return InputError(f"an MQTT broker at {broker} that accepts this client", found, cause.advice)


def from_reason_code(reason: str, client_id: str) -> Failure:
    """Return the failure for a reason code, by its name in the MQTT standard."""
    if reason in _CREDENTIALS:
        advice = f"set the environment variables {USERNAME} and {PASSWORD} as configured at the broker"
        return Failure(reason, advice, final=True)
    if reason == "Client identifier not valid":
        advice = "allow it at the broker, or set mqtt.client_id to one that it accepts"
        return Failure(f"{reason}: {client_id}", advice, final=True)
    if reason in _BUSY:
        return Failure(reason, "try again later; the broker's limits on connections may be too low")
    return Failure(reason, "see the broker's log")


def from_subscription(reason: str, filters: list[str]) -> Failure:
    """Return the failure for a broker that refuses every subscription."""
    return Failure(reason, f"allow this client to subscribe to {filters[0]} in the broker's access control list")


def from_timeout(seconds: float) -> Failure:
    """Return the failure for a server that accepted the connection and did not answer."""
    return Failure(f"no answer to MQTT within {seconds:g} s", "check that this is the broker's port for MQTT")


def from_closed_connection(config: MqttConfig, broker: Broker) -> Failure:
    """Return the failure for a connection that was closed without an answer."""
    found = "a connection that was closed without an answer"
    if broker.tls:
        return Failure(found, "check that this is the broker's port for MQTT over TLS, usually 8883; see its log")
    advice = "use --broker mqtts://host:port if this is a port for TLS, or the broker's plain port, usually 1883"
    if config.protocol == "v3.1.1":
        advice += "; set mqtt.protocol=auto if the broker lacks retained messages or QoS 1"
    return Failure(found, advice)


def from_error(error: OSError, config: MqttConfig, broker: Broker) -> Failure:
    """Return the failure for a TCP or TLS connection that could not be made."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _from_certificate(error, config)
    if isinstance(error, ssl.SSLError) and (cause := _from_alert(error, config)) is not None:
        return cause
    if isinstance(error, ssl.SSLError) or (broker.tls and isinstance(error, ConnectionResetError)):
        found = f"no TLS there ({error.strerror or error})"
        return Failure(found, "use mqtt:// for a plain port, or the broker's TLS port, usually 8883")
    advice = f"start one there, say mosquitto -p {broker.port}, or use --broker mqtt://host[:port]"
    if isinstance(error, socket.gaierror):
        return Failure("no such host", advice)
    if isinstance(error, TimeoutError):
        return Failure(f"no answer within {SOCKET_SECONDS:g} s", advice)
    return Failure(error.strerror or str(error) or type(error).__name__, advice)


def from_late_alert(config: MqttConfig, broker: Broker, context: ssl.SSLContext) -> Failure | None:
    """Return why a broker rejects this device's certificate; ``None`` if it does not.

    With TLS 1.3 the alert follows the handshake, and data that the client has sent by then can make it unreadable.  So
    this connection only reads.
    """
    try:
        with (
            socket.create_connection((broker.host, broker.port), SOCKET_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=broker.host) as encrypted,
        ):
            encrypted.settimeout(_ALERT_SECONDS)
            encrypted.recv(1)
    except ssl.SSLError as error:
        return _from_alert(error, config)
    except OSError:
        return None
    return None


def _from_certificate(error: ssl.SSLCertVerificationError, config: MqttConfig) -> Failure:
    found = f"a certificate of the broker that cannot be verified: {error.verify_message}"
    code = error.verify_code
    if code == _EXPIRED:
        advice = "renew the broker's certificate; if it is valid, set this machine's clock (see date)"
    elif code == _NOT_YET_VALID:
        advice = "set this machine's clock (see date); if it is right, renew the broker's certificate"
    elif code == _REVOKED:
        advice = "renew the broker's certificate"
    elif code in _WRONG_NAME:
        advice = (
            "use --broker mqtts://NAME with a name in the certificate, set mqtt.server_name to that name if the broker "
            "is reached by another one, or have the broker's name added to the certificate"
        )
    elif code in _UNKNOWN_ISSUER and config.ca is None:
        advice = "set mqtt.ca to the PEM file of the authority that signed the broker's certificate"
    elif code in _UNKNOWN_ISSUER:
        advice = f"{config.ca} (mqtt.ca) is not the authority that signed the broker's certificate: set it to that one"
    else:
        advice = "check the broker's certificate with openssl s_client -connect host:port"
    return Failure(found, advice, final=True)


def _from_alert(error: ssl.SSLError, config: MqttConfig) -> Failure | None:
    """Return the failure for an alert about this device's certificate, ``None`` for another error.

    The spelling of alerts depends on the version of OpenSSL.
    """
    words = f"{error.reason or ''} {error}".upper().replace(" ", "_")
    if "ALERT" not in words:
        return None
    if config.cert is None and ("CERTIFICATE_REQUIRED" in words or "HANDSHAKE_FAILURE" in words):
        return Failure(
            "a broker that asks for a certificate of this device, and no mqtt.cert",
            "set mqtt.cert and mqtt.key to this device's certificate and its private key",
            final=True,
        )
    meanings = {
        "CERTIFICATE_EXPIRED": "it has expired",
        "UNKNOWN_CA": "its authority is unknown to the broker",
        "CERTIFICATE_REVOKED": "it was revoked",
        "BAD_CERTIFICATE": "the broker finds it invalid",
        "CERTIFICATE_UNKNOWN": "the broker finds it invalid",
        "UNSUPPORTED_CERTIFICATE": "the broker does not support its kind",
    }
    meaning = next((meaning for name, meaning in meanings.items() if name in words), None)
    if config.cert is None or meaning is None:
        return None
    return Failure(
        f"a broker that does not accept this device's certificate: {meaning}",
        f"check {config.cert} (mqtt.cert) with openssl x509 -noout -dates -issuer -in, and have it signed again",
        final=True,
    )
