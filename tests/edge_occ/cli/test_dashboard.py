"""``edge-occ dashboard`` as a process: what it prints, what it refuses, and how it ends."""

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time

import pytest
from mqtt_helpers import free_port
from typer.testing import CliRunner

from edge_occ.cli import app, extras
from edge_occ.dashboard.access_token import VARIABLE


@contextlib.contextmanager
def started(*arguments, **environment):
    """The command, and the address that it printed; what it printed before that."""
    command = [sys.executable, "-m", "edge_occ", "dashboard", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment or None)
    try:
        before = []
        for line in process.stderr:
            if line.startswith("the page is at "):
                break
            before.append(line)
        else:
            pytest.fail("".join(before))
        yield process, line.split()[4].removeprefix("http://").rstrip("/"), before
    finally:
        process.kill()
        process.communicate()


def invoke(*arguments, **environment):
    return CliRunner().invoke(app, ["dashboard", *map(str, arguments)], env={VARIABLE: None, **environment})


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_its_extra_it_says_what_to_install(monkeypatch, missing):
    find = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == missing else find(name))
    result = invoke()
    assert result.exit_code == 2
    expected, found, advice = result.stderr.splitlines()
    assert "[dashboard]" in expected
    assert missing in found
    assert "pip install 'edge-occ[dashboard]'" in advice


def test_the_command_line_does_not_import_the_extra():
    code = (
        "import sys, edge_occ.cli\n"
        "bad = {'starlette', 'uvicorn', 'anyio', 'edge_occ.dashboard'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_with_readers_that_stay_and_without_a_broker(number):
    """Readers of both kinds, one of which takes nothing; nobody answers as a broker."""
    with socket.create_server(("127.0.0.1", 0)) as silent, contextlib.ExitStack() as stack:
        broker = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"  # accepts, and never answers
        process, address, _ = stack.enter_context(started("--port", 0, "--broker", broker))
        host, _, port = address.rpartition(":")
        reader = http.client.HTTPConnection(address, timeout=20)
        stack.callback(reader.close)
        reader.request("GET", "/stream")
        answer = reader.getresponse()
        assert answer.readline().startswith(b"id: ")
        idle = stack.enter_context(socket.create_connection((host, int(port))))
        idle.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(1)
        begin = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        seconds = time.monotonic() - begin
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    # A second is what is stated; the margin is for a busy machine, and far from any timeout of a connection.
    assert seconds < 4


def test_beyond_this_machine_a_token_is_required_and_made(tmp_path):
    path = tmp_path / "token"
    broker = f"mqtt://127.0.0.1:{free_port()}"
    arguments = ["--port", 0, "--host", "0.0.0.0", "--token-file", path, "--broker", broker]
    with started(*arguments) as (_, address, before):
        assert f"the token that the page asks for is in {path} (new)\n" in before
        secret = path.read_text().strip()
        assert secret not in "".join(before)
        port = int(address.rpartition(":")[2])
        codes = []
        for headers in ({}, {"Authorization": f"Bearer {secret}"}):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/events", headers=headers)
            codes.append(connection.getresponse().status)
            connection.close()
        assert codes == [401, 200]


def test_a_short_token_is_refused_without_repeating_it():
    result = invoke("--host", "0.0.0.0", **{VARIABLE: "geheim"})
    assert result.exit_code == 2
    assert VARIABLE in result.stderr
    assert "geheim" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--broker", "http://x"], "unknown scheme"),
        (["--broker", "mqtt://user:secret@x"], "credentials in the address"),
        (["--prefix", "a/#"], "wildcard"),
        (["--evidence", "/nowhere/at/all"], "no folder /nowhere/at/all"),
        (["--host", "192.0.2.1"], "assign requested address"),
        (["--host", "no such host"], "an address to listen on"),
    ],
)
def test_wrong_arguments_are_three_lines(arguments, found, tmp_path):
    result = invoke("--port", 0, *arguments, **{VARIABLE: "0123456789abcdef"})
    assert result.exit_code == 2
    assert found in result.stderr
    assert len(result.stderr.splitlines()) == 3
