"""The compose file: its services, their rights and their variables."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from deployment import ENVIRONMENT, ROOT, TELEMETRY, compose, environment, filled, mounts, text, tool

from edge_occ.mqtt.broker import PASSWORD, USERNAME
from edge_occ.runtime.heartbeat import FILE, SECONDS
from edge_occ.sources.uri import SourceKind, parse_uri


def configured(**changes):
    """The compose file as Docker's own parser reads it; ``None`` leaves a variable out."""
    variables = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **ENVIRONMENT, **changes}
    return subprocess.run(
        [tool("docker-compose"), "-f", "compose.yaml", "config", "--format", "json"],
        cwd=ROOT,
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
    )


def test_no_service_has_rights_that_it_does_not_need():
    for name, service in compose()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "ipc"}, name
        assert (TELEMETRY in service["environment"]) == (name != "broker"), name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        tag = filled(service["image"]).rpartition(":")[2]
        assert re.fullmatch(r"[\d.]+", tag), tag
    for variable in re.findall(r"\$\{(\w+):", text("compose.yaml")):
        assert variable in text("docs/jetson.md"), variable


def test_a_container_starts_without_its_camera_and_sees_it_when_it_is_plugged_in():
    service = compose()["services"]["edge-occ"]
    # Docker refuses to start a container with a device that is missing, and never passes it on later.
    assert "devices" not in service
    assert mounts("edge-occ")["/dev"] == "/dev"
    (rule,) = service["device_cgroup_rules"]
    kind, numbers, access = rule.split()
    # VIDEO_MAJOR of the kernel, and no other device.
    assert (kind, numbers, set(access)) == ("c", "81:*", {"r", "w"})
    source = parse_uri(filled(service["command"][service["command"].index("--source") + 1]))
    assert source.kind is SourceKind.CAMERA
    assert Path(source.target).is_relative_to("/dev")


def test_the_heartbeat_lies_in_memory_that_is_the_containers_own():
    """With the host's /dev its /dev/shm would be the host's, too, and one for all stations on it."""
    folders = [entry.partition(":")[0] for entry in compose()["services"]["edge-occ"]["tmpfs"]]
    assert str(Path(environment()[FILE]).parent) in folders


def test_a_stop_is_handled_while_python_still_imports():
    """PID 1 is deaf to the signals that it has no handler for; Docker's init is not."""
    for name, service in compose()["services"].items():
        assert service["init"] is True, name


def test_docker_compose_accepts_the_file():
    done = configured()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    services = json.loads(done.stdout)["services"]
    for service in services.values():
        assert service["environment"][PASSWORD].replace("$$", "$") == ENVIRONMENT[PASSWORD]
    assert services["edge-occ"]["command"][-1] == "mqtt://broker:1883"
    assert services["edge-occ"]["runtime"] == "nvidia"
    assert [port["host_ip"] for port in services["broker"]["ports"]] == ["127.0.0.1"]


@pytest.mark.parametrize("variable", [USERNAME, PASSWORD, "EDGE_OCC_DEVICE"])
def test_nothing_starts_with_a_password_that_nobody_chose(variable):
    done = configured(**{variable: None})
    assert done.returncode != 0
    assert variable in done.stderr


def test_another_camera_and_another_time_are_taken_from_the_environment():
    done = configured(EDGE_OCC_CAMERA="/dev/v4l/by-id/usb-x", EDGE_OCC_WATCHDOG="600")
    service = json.loads(done.stdout)["services"]["edge-occ"]
    assert "v4l2:///dev/v4l/by-id/usb-x" in service["command"]
    assert service["environment"][SECONDS] == "600"
