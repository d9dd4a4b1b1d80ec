"""`edge-occ watch` in a terminal: a pseudo-terminal, a real broker and a real run."""

import os
import re
import select
import signal
import subprocess
import sys
import time

import pytest
from mqtt_helpers import PATIENCE
from typer.testing import CliRunner

from edge_occ.cli import app

pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")


class Terminal:
    """A command in a terminal of its own; what it wrote so far, without escape sequences."""

    def __init__(self, *command):
        self._master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30", "PYTHONIOENCODING": "utf-8"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_occ", *command], stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)
        self._written = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def text(self):
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._written.decode("utf-8", "replace"))

    def wait_for(self, pattern):
        deadline = time.monotonic() + 3 * PATIENCE
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"{pattern} is not in {self.text[-2000:]}"
            if select.select([self._master], [], [], 0.1)[0]:
                self._written += os.read(self._master, 65536)


def inspect(broker, bundle, source, prefix):
    command = ["run", "--bundle", bundle, "--source", source, "--broker", broker.url, "--set", f"mqtt.prefix={prefix}"]
    assert CliRunner().invoke(app, [str(word) for word in command]).exit_code == 0


def test_a_terminal_shows_cameras_and_events_until_ctrl_c(broker, tiny_bundle, tiny_data):
    with Terminal("watch", "--broker", broker.url, "--prefix", "terminal") as terminal:
        terminal.wait_for("watching")
        inspect(broker, tiny_bundle, tiny_data / "test" / "spot", "terminal")
        terminal.wait_for(r"camera +state +score : threshold")
        terminal.wait_for(r"offline")
        terminal.wait_for(r"event +camera +began")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(PATIENCE) == 130


def test_lines_are_printed_in_a_terminal_too(broker, tiny_bundle, tiny_data):
    with Terminal("watch", "--broker", broker.url, "--prefix", "lines", "--lines", "--until-offline") as terminal:
        terminal.wait_for("watching")
        inspect(broker, tiny_bundle, tiny_data / "test" / "spot", "lines")
        terminal.wait_for(r"score +frame 000000")
        terminal.wait_for(r"status +offline")
        assert terminal.process.wait(PATIENCE) == 0
