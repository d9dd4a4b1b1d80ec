"""Every way in which TLS fails, with a real mosquitto and real certificates: the right cause and the right advice."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mqtt_helpers import PATIENCE, Mosquitto, tool

from edge_occ.common.errors import InputError
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.config import MqttConfig

pytestmark = pytest.mark.filterwarnings(
    # The socket of a failed TLS handshake, which paho leaves open; seen in the next garbage collection.
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)

_CONFIGURATION = """[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


class Authority:
    """Signs certificates for 127.0.0.1 with openssl; ``ca.pem`` is its own, ``stranger.pem`` of another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "ca.cnf").write_text(_CONFIGURATION)
        (folder / "index.txt").touch()
        (folder / "serial").write_text("01\n")
        for name in ("ca", "stranger"):
            files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
            self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                          "-addext", "subjectAltName=IP:127.0.0.1", *files)  # fmt: skip
        self._sign("good", "-days", "2")
        self._sign("expired", "-startdate", "20200101000000Z", "-enddate", "20200102000000Z")
        self._sign("future", "-startdate", "20400101000000Z", "-enddate", "20400102000000Z")
        self._sign("elsewhere", "-days", "2", address="DNS:elsewhere.example")

    def _sign(self, name: str, *options: str, address: str = "IP:127.0.0.1") -> None:
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-addext",
                      f"subjectAltName={address}", "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        self._openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key",
                      "-in", f"{name}.csr", "-out", f"{name}.pem", *options)  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        subprocess.run([tool("openssl", "openssl"), *arguments], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def attempt(authority, tmp_path, config) -> Callable:
    """Connects to a broker with a certificate of some name; gives the error, ``None`` if it was accepted."""

    @contextmanager
    def broker(certificate: str, *options: str) -> Iterator[str]:
        files = [
            f"{option} {authority.folder / certificate}.{end}"
            for option, end in (("certfile", "pem"), ("keyfile", "key"))
        ]
        mosquitto = Mosquitto(tmp_path, ["allow_anonymous true", *files, *options]).start()
        yield mosquitto.url.replace("mqtt:", "mqtts:")
        mosquitto.stop()

    def connect(
        certificate: str,
        *options: str,
        ca: str | None = "ca",
        own: str | None = None,
        required: bool = True,
        server_name: str | None = None,
    ) -> InputError | None:
        pem = {name: authority.folder / f"{file}.pem" for name, file in (("ca", ca), ("cert", own)) if file}
        if own:
            pem["key"] = authority.folder / f"{own}.key"
        with broker(certificate, *options) as url:
            connection = Connection(
                config.model_copy(update={"broker": url, "server_name": server_name, **pem}), "client"
            )
            try:
                connection.connect(PATIENCE, required=required)
            except InputError as error:
                return error
            connection.close(1.0)
            return None

    return connect


def test_a_certificate_of_the_authority_is_accepted(attempt):
    assert attempt("good") is None


@pytest.mark.parametrize(
    ("certificate", "ca", "found", "advice"),
    [
        ("good", None, "unable to get local issuer", "set mqtt.ca to the PEM file"),
        ("good", "stranger", "unable to get local issuer", "stranger.pem (mqtt.ca) is not the authority"),
        ("stranger", "ca", "self", "ca.pem (mqtt.ca) is not the authority"),
        ("expired", "ca", "certificate has expired", "renew the broker's certificate"),
        ("future", "ca", "not yet valid", "set this machine's clock"),
        ("elsewhere", "ca", "not valid for '127.0.0.1'", "--broker mqtts://NAME"),
        ("elsewhere", "ca", "not valid for '127.0.0.1'", "set mqtt.server_name to that name"),
    ],
)
@pytest.mark.parametrize("required", [True, False])
def test_the_cause_of_a_rejected_broker_certificate(attempt, certificate, ca, found, advice, required):
    error = attempt(certificate, ca=ca, required=required)
    assert "certificate of the broker that cannot be verified" in error.found
    assert found in error.found
    assert advice in error.advice
    assert ("mqtt.ca" in error.advice) == ("mqtt.ca" in advice)


@pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
@pytest.mark.parametrize(
    ("own", "found", "advice"),
    [
        (None, "asks for a certificate of this device, and no mqtt.cert", "set mqtt.cert and mqtt.key"),
        ("expired", "does not accept this device's certificate: it has expired", "expired.pem (mqtt.cert)"),
        ("stranger", "does not accept this device's certificate: its authority", "stranger.pem (mqtt.cert)"),
    ],
)
def test_the_cause_of_a_rejected_device_certificate(attempt, authority, version, own, found, advice):
    wanted = ["require_certificate true", f"cafile {authority.folder / 'ca.pem'}", f"tls_version {version}"]
    assert attempt("good", *wanted, own="good") is None
    error = attempt("good", *wanted, own=own, required=version == "tlsv1.2")
    assert found in error.found
    assert advice in error.advice


def test_a_certificate_of_another_name_is_accepted_by_that_name_alone(attempt):
    assert attempt("elsewhere", server_name="elsewhere.example") is None
    assert "not valid for 'another.example'" in attempt("elsewhere", server_name="another.example").found


def test_a_port_for_tls_is_recognised_behind_a_plain_address(authority, tmp_path, config: MqttConfig):
    files = [f"certfile {authority.folder / 'good.pem'}", f"keyfile {authority.folder / 'good.key'}"]
    mosquitto = Mosquitto(tmp_path, ["allow_anonymous true", *files]).start()
    try:
        with pytest.raises(InputError, match="mqtts://"):
            Connection(config.model_copy(update={"broker": mosquitto.url}), "client").connect(2)
    finally:
        mosquitto.stop()
