"""Ctrl-C, a supervisor and a terminal that closes, at every moment of a command's life."""

import contextlib
import fcntl
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def run_command(bundle, data):
    source = f"{data / 'test' / 'good'}?fps=20&loop=1"
    return [sys.executable, "-m", "edge_occ", "run", "--source", source, "--bundle", str(bundle), "--no-mqtt", "--json"]


@contextlib.contextmanager
def started(command, **options):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(process, reached):
    """Poll until the process has got somewhere; its files in /proc vanish when it ends."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(OSError):
            if reached(Path("/proc") / str(process.pid)):
                return
        time.sleep(0.002)
    pytest.fail("it never got there")


def handles_sigterm(proc):
    """Python itself has no handler for it."""
    line = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("SigCgt:"))
    return int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1


def has_loaded(library):
    return lambda proc: library in (proc / "maps").read_text()


def ended(process):
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    return errors


MOMENTS = {
    "at first": handles_sigterm,
    "numpy": has_loaded("_multiarray_umath"),
    "opencv": has_loaded("/cv2."),
    "onnxruntime": has_loaded("onnxruntime_pybind11_state"),
}


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_can_be_ended_while_it_starts(tiny_bundle, tiny_data, moment, number):
    with started(run_command(tiny_bundle, tiny_data)) as process:
        wait_until(process, handles_sigterm)
        wait_until(process, MOMENTS[moment])
        process.send_signal(number)
        ended(process)


@pytest.mark.train
@pytest.mark.parametrize("library", ["libtorch_cpu", "libtorch_python", "_multiarray_umath", "_pydantic_core"])
def test_a_training_can_be_ended_while_it_starts(tiny_data, tmp_path, library):
    """torch answers an exception amid its import with an abort, or with another exception."""
    command = [sys.executable, "-m", "edge_occ", "train", "--data", str(tiny_data), "--out", str(tmp_path / "x.occ")]
    with started(command) as process:
        wait_until(process, handles_sigterm)
        wait_until(process, has_loaded(library))
        process.send_signal(signal.SIGTERM)
        ended(process)
    assert not (tmp_path / "x.occ").exists()


def test_a_terminal_that_closes_ends_a_run_in_good_order(tiny_bundle, tiny_data):
    """It is the terminal of the process, which gets SIGHUP and loses it; without one SIGHUP asks for a reload."""
    terminal, own = pty.openpty()

    def take_terminal():
        fcntl.ioctl(own, termios.TIOCSCTTY, 0)

    options = {"start_new_session": True, "preexec_fn": take_terminal, "stdin": own}
    with started(run_command(tiny_bundle, tiny_data), **options) as process:
        os.close(own)
        process.stdout.readline()
        os.close(terminal)
        errors = ended(process)
    assert "frames," in errors
    assert "interrupted" in errors


def test_in_the_background_of_a_script_sigterm_alone_ends_it(tiny_bundle, tiny_data):
    shell = ["sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh", *run_command(tiny_bundle, tiny_data)]
    with started(shell) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGHUP)
        for _ in range(20):
            assert process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert "interrupted" in ended(process)


@pytest.mark.parametrize("moment", ["at first", "numpy", "onnxruntime"])
def test_process_1_of_a_container_is_ended_by_sigterm(tiny_bundle, tiny_data, moment):
    """The kernel drops signals for which process 1 has no handler."""
    namespace = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], capture_output=True).returncode != 0:
        pytest.skip("this machine makes no process namespaces")
    with started([*namespace, *run_command(tiny_bundle, tiny_data)]) as outer:
        inner = only_child(outer)
        wait_until(outer, lambda _: handles_sigterm(inner))
        wait_until(outer, lambda _: MOMENTS[moment](inner))
        # A signal from outside reaches process 1 too, if it has a handler.
        subprocess.run(["kill", "-TERM", inner.name], check=True)
        ended(outer)


def only_child(process):
    """The folder in /proc of the process that unshare forks."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(process, lambda _: len(children.read_text().split()) == 1)
    return Path("/proc") / children.read_text().strip()


@pytest.mark.parametrize("broker", ["absent", "silent"])
def test_several_cameras_end_together_with_their_events_kept(tiny_bundle, tiny_data, tmp_path, broker):
    """Whatever the broker does, a supervisor gets the end it asks for in about five seconds, not in five a camera."""
    spot = f"{tiny_data / 'test' / 'spot'}?fps=10&loop=1"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if broker == "absent":
            server.close()
        command = [sys.executable, "-m", "edge_occ", "run", "--bundle", str(tiny_bundle), "--json"]
        command += [part for index in range(6) for part in ("--source", f"c{index}={spot}")]
        command += ["--broker", f"mqtt://127.0.0.1:{port}", "--set", "mqtt.connect_timeout=0.5"]
        command += ["--set", f"mqtt.state={tmp_path}", "--set", f"evidence.folder={tmp_path / 'evidence'}"]
        with started(command) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(12)]
            assert all("score" in json.loads(line) for line in lines)
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            errors = ended(process)
            # Six cameras took 30 seconds when they ended one after another.
            assert time.monotonic() - begun < 15
    assert errors.count("kept in") == 6
