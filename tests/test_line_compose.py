"""deploy/line/compose.yaml: as Docker's parser reads it, and its commands run as processes with a real broker."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request

import cv2
import numpy as np
import pytest
from deployment import ROOT, tool
from discs import part
from mqtt_helpers import free_port, wait_until

FILE = ROOT / "deploy" / "line" / "compose.yaml"
CHOSEN = {
    "LINE": "/tmp/line",
    "BUNDLE": "part.occ",
    "VIDEO": "line.mp4",
    "EDGE_OCC_DASHBOARD_TOKEN": "chosen-by-the-operator",
}


def configured(**variables):
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}
    command = [tool("docker-compose"), "-f", str(FILE), "config", "--format", "json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def services():
    done = configured(**CHOSEN)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


def test_it_has_a_broker_an_inspector_and_a_dashboard_that_only_this_machine_reaches(services):
    assert set(services) == {"broker", "inspector", "dashboard"}
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    (port,) = published.pop("dashboard")
    assert (published, port["host_ip"], port["published"], port["target"]) == ({}, "127.0.0.1", "8090", 8090)
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["restart"] == "unless-stopped", name


@pytest.mark.parametrize("name", CHOSEN)
def test_what_must_be_chosen_is_asked_for(name):
    done = configured(**{key: value for key, value in CHOSEN.items() if key != name})
    assert done.returncode != 0
    assert name in done.stderr


@contextlib.contextmanager
def started(*words, **environment):
    process = subprocess.Popen([sys.executable, "-m", "edge_occ", *words], env={**os.environ, **environment})
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def video(path, frames=20):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (112, 112))
    for i in range(frames):
        writer.write(part(i))
    writer.release()


def test_its_commands_bring_a_first_picture_to_the_dashboard(services, own_broker, tiny_bundle, tmp_path):
    """Docker itself is absent here: paths of containers become folders, and the broker's listener another port."""
    shutil.copy(tiny_bundle, tmp_path / "part.occ")
    video(tmp_path / "line.mp4")
    (tmp_path / "evidence").mkdir()
    assert "allow_anonymous true" in services["broker"]["command"][-1]
    places = {
        "/line/": f"{tmp_path}/",
        "/var/lib/edge-occ/evidence": str(tmp_path / "evidence"),
        "mqtt://broker:1883": own_broker.url,
        "0.0.0.0": "127.0.0.1",
    }

    def here(words):
        for inside, outside in places.items():
            words = [word.replace(inside, outside) for word in words]
        return words

    inspector, page = (here(services[name]["command"]) for name in ("inspector", "dashboard"))
    token, port = services["dashboard"]["environment"]["EDGE_OCC_DASHBOARD_TOKEN"], free_port()
    address = f"http://127.0.0.1:{port}/snapshot.jpg?device={socket.gethostname()}"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    pictures = []

    def there():
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
            pictures.append(answer.read())
        return bool(pictures)

    settings = ["--set", f"mqtt.state={tmp_path / 'state'}"]
    with started(*inspector, *settings), started(*page, "--port", str(port), EDGE_OCC_DASHBOARD_TOKEN=token):
        wait_until(there, "the first picture", patience=60)
    assert cv2.imdecode(np.frombuffer(pictures[0], np.uint8), cv2.IMREAD_COLOR).shape == (112, 112, 3)
