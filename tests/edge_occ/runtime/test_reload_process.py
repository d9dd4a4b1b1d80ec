"""SIGHUP in a real process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from reload_helpers import another, wait_for

LONG = 60.0


@contextmanager
def started(bundle, pictures, *options):
    """A real run without a terminal, and what it wrote to standard error."""
    command = [sys.executable, "-m", "edge_occ", "run", "--source", f"{pictures}?loop=1&fps=20", "--bundle"]
    command += [str(bundle), "--json", "--set", "engine.name=cpu", *options]
    errors = bundle.with_name("errors")
    with errors.open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
    try:
        yield process, errors.read_text
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in errors.read_text()


@pytest.mark.long
def test_sighup_reloads_a_process_without_a_terminal(bundle, pictures):
    with started(bundle, pictures, "--no-mqtt") as (process, errors):
        frames = iter(lambda: json.loads(process.stdout.readline())["frame"], None)
        assert [next(frames) for _ in range(3)] == [0, 1, 2]
        another(bundle, bundle)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: next(frames) and "reloaded line.occ" in errors(), errors)
        for _ in range(300):  # also amid the handler of the one before
            process.send_signal(signal.SIGHUP)
            time.sleep(0.0005)
        following = next(frames)
        assert [next(frames) for _ in range(20)] == list(range(following + 1, following + 21))
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=LONG)
        assert process.returncode == 130
        assert "frames," in errors()


@pytest.mark.long
def test_a_sighup_while_the_run_begins_does_not_end_it(bundle, pictures, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        options = ["--broker", broker, "--set", "mqtt.connect_timeout=1", "--set", f"mqtt.state={tmp_path}"]
        with started(bundle, pictures, *options) as (process, errors):
            silent.accept()[0].close()  # it connects before it opens the engine
            process.send_signal(signal.SIGHUP)
            assert json.loads(process.stdout.readline())["frame"] == 0
            wait_for(lambda: "reloaded line.occ" in errors(), errors)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=LONG)
            assert process.returncode == 130
