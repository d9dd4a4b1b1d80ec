"""The broker of compose.yaml, started by that file's own lines: on this machine, and as Docker would confine it."""

import os
import shlex
import socket
import subprocess
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from deployment import ENVIRONMENT, compose, text, tool
from paho.mqtt.enums import CallbackAPIVersion

from edge_occ.mqtt.broker import PASSWORD, USERNAME

CONFINED = r"""
set -eu
mount -t tmpfs -o mode=755 tmpfs "$root"
for name in bin sbin lib lib32 lib64 libx32 usr etc opt proc dev; do
  if [ -L "/$name" ]; then
    cp -P "/$name" "$root/"
  elif [ -d "/$name" ]; then
    mkdir "$root/$name"
    mount --rbind "/$name" "$root/$name"
  fi
done
mkdir -m 1777 "$root/tmp"
mkdir -p $points
for point in $points; do chmod 1777 "$point"; done
eval "$mounts"
mount -o remount,ro "$root"
exec chroot "$root" setpriv --reuid "$uid" --regid "$gid" --clear-groups --bounding-set=-all --inh-caps=-all \
  --no-new-privs "$@"
"""
"""Docker's read-only root, its tmpfs, its mounts and its user, by the tools of this machine."""


def broker_service():
    return compose()["services"]["broker"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def configuration(port):
    return text("deploy/mosquitto.conf").replace("listener 1883", f"listener {port} 127.0.0.1")


def variables(password):
    paths = {Path(tool(name)).parent: None for name in ("mosquitto", "mosquitto_passwd")}
    path = ":".join([*map(str, paths), os.environ["PATH"]])
    return {**os.environ, **ENVIRONMENT, PASSWORD: password, "PATH": path}


@pytest.fixture
def started():
    processes = []

    def start(command, environment):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture
def broker(tmp_path, started):
    """Starts the real mosquitto in a folder; gives the process and its port."""

    def start(password):
        environment, port = variables(password), free_port()
        content, script = configuration(port), broker_service()["command"][2]
        for old in ("/run/mosquitto", "/mosquitto/data", "/mosquitto/config"):
            content, script = content.replace(old, str(tmp_path)), script.replace(old, str(tmp_path))
        # As root mosquitto would become another user, who must not read the folder of this test.
        (tmp_path / "mosquitto.conf").write_text(content + "user root\n")
        return started(["sh", "-euc", script.replace("$$", "$")], environment), port

    return start


@pytest.fixture
def confined_broker(tmp_path, started):
    """Starts it on a read-only root, with the file's tmpfs, mounts and user; gives the process and its port."""
    for name in ("unshare", "setpriv", "chroot", "mosquitto", "mosquitto_passwd"):
        tool(name)
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no right to make a mount namespace here")

    def start(leave_out=()):
        service, port, root = broker_service(), free_port(), tmp_path / "root"
        assert service["read_only"] is True
        root.mkdir()
        named = tmp_path / "mosquitto.conf"
        named.write_text(configuration(port))
        uid, gid = service["user"].split(":")
        points, mounts = [], []
        for entry in service["tmpfs"]:
            path, _, options = entry.partition(":")
            if path not in leave_out:
                points.append(f"{root}{path}")
                mounts.append(shlex.join(["mount", "-t", "tmpfs", "-o", options or "mode=1777", "tmpfs", points[-1]]))
        for entry in service["volumes"]:
            source, path, *_ = entry.split(":")
            if source.startswith("."):
                points.append(f"{root}{Path(path).parent}")
                mounts += [f"touch {root}{path}", f"mount --bind {named} {root}{path}"]
            else:
                points.append(f"{root}{path}")
                mounts.append(f"mount -t tmpfs -o uid={uid},gid={gid},mode=700 tmpfs {root}{path}")
        own = {"root": str(root), "points": " ".join(points), "mounts": "\n".join(mounts), "uid": uid, "gid": gid}
        command = [word.replace("$$", "$") for word in service["command"]]
        line = ["unshare", "--mount", "sh", "-c", CONFINED, "sh", *command]
        return started(line, {**variables(ENVIRONMENT[PASSWORD]), **own}), port

    return start


def test_the_broker_lets_in_who_has_the_password_and_nobody_else(broker, tmp_path):
    _, port = broker(ENVIRONMENT[PASSWORD])
    assert [answer(port, password) for password in (ENVIRONMENT[PASSWORD], "another", None)] == [True, False, False]
    assert ENVIRONMENT[PASSWORD] not in (tmp_path / "passwords").read_text()


def test_the_broker_refuses_a_password_that_mosquitto_would_cut(broker):
    process, _ = broker("before:after")
    assert process.wait(10) == 2


def test_the_broker_starts_on_its_read_only_root(confined_broker):
    process, port = confined_broker()
    assert [answer(port, password, process) for password in (ENVIRONMENT[PASSWORD], "another")] == [True, False]


def test_the_root_of_that_test_is_read_only_indeed(confined_broker):
    process, _ = confined_broker(leave_out=["/tmp"])
    assert process.wait(10) != 0
    assert b"temp" in process.stderr.read()


def answer(port, password, process=None):
    """Return whether the broker accepts a client; waits for it to start."""
    known, heard = threading.Event(), []
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    if password is not None:
        client.username_pw_set(ENVIRONMENT[USERNAME], password)

    def connected(_client, _data, _flags, reason, _properties):
        heard.append(not reason.is_failure)
        known.set()

    client.on_connect = connected
    for _ in range(100):
        assert process is None or process.poll() is None, process.stderr.read()
        try:
            client.connect("127.0.0.1", port)
            break
        except OSError:
            time.sleep(0.1)
    client.loop_start()
    try:
        assert known.wait(10)
    finally:
        client.disconnect()
        client.loop_stop()
    return heard[0]
