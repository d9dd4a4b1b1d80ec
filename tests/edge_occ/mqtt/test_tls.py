"""The TLS context, without a connection."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from mqtt_helpers import tool

from edge_occ.common.errors import InputError
from edge_occ.mqtt.broker import Broker
from edge_occ.mqtt.tls import PASSPHRASE, TlsFiles, tls_context

PLAIN, TLS = Broker("host", 1883), Broker("host", 8883, tls=True)


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """A certificate whose key has the passphrase ``open sesame``."""
    folder = tmp_path_factory.mktemp("encrypted")
    arguments = ["req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:open sesame", "-days", "2", "-subj", "/CN=a"]
    files = ["-keyout", "a.key", "-out", "a.pem"]
    subprocess.run([tool("openssl", "openssl"), *arguments, *files], cwd=folder, check=True, capture_output=True)
    return TlsFiles(cert=folder / "a.pem", key=folder / "a.key")


def test_certificates_belong_to_an_encrypted_address(tmp_path):
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    assert tls_context(PLAIN, TlsFiles()) is None
    context = tls_context(TLS, TlsFiles())
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    usual = ssl.create_default_context()
    assert (context.options, context.verify_flags) == (usual.options, usual.verify_flags)
    for broker, files, words in (
        (PLAIN, TlsFiles(ca=junk), "mqtts"),
        (PLAIN, TlsFiles(server_name="broker"), "mqtt.server_name"),
        (TLS, TlsFiles(cert=junk), "both"),
        (TLS, TlsFiles(ca=tmp_path / "none.pem"), "no file"),
        (TLS, TlsFiles(ca=junk), "PEM files as mqtt"),
    ):
        with pytest.raises(InputError, match=words):
            tls_context(broker, files)


def test_an_encrypted_key_is_opened_by_the_passphrase_of_the_environment(encrypted, monkeypatch, tmp_path):
    monkeypatch.delenv(PASSPHRASE, raising=False)
    with pytest.raises(InputError, match="no passphrase") as caught:
        tls_context(TLS, encrypted)
    assert PASSPHRASE in caught.value.advice
    monkeypatch.setenv(PASSPHRASE, "wrong")
    with pytest.raises(InputError, match="another passphrase") as caught:
        tls_context(TLS, encrypted)
    assert "wrong" not in str(caught.value)
    monkeypatch.setenv(PASSPHRASE, "open sesame")
    assert tls_context(TLS, encrypted) is not None
    monkeypatch.delenv(PASSPHRASE)
    (tmp_path / "passphrase").write_text("open sesame\n")
    monkeypatch.setenv(f"{PASSPHRASE}_FILE", str(tmp_path / "passphrase"))
    assert tls_context(TLS, encrypted) is not None


def test_a_key_that_is_not_encrypted_needs_no_passphrase(encrypted, monkeypatch, tmp_path):
    monkeypatch.delenv(PASSPHRASE, raising=False)
    plain = tmp_path / "plain.key"
    command = ["pkey", "-in", str(encrypted.key), "-passin", "pass:open sesame", "-out", str(plain)]
    subprocess.run([tool("openssl", "openssl"), *command], check=True, capture_output=True)
    assert tls_context(TLS, TlsFiles(cert=encrypted.cert, key=plain)) is not None
    junk = Path(tmp_path / "junk.key")
    junk.write_text("junk")
    with pytest.raises(InputError, match="openssl x509"):
        tls_context(TLS, TlsFiles(cert=encrypted.cert, key=junk))
