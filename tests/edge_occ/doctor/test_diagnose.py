"""The whole diagnosis, and what is made of it."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_occ import doctor
from edge_occ.doctor import diagnose
from edge_occ.doctor.machine import read_machine
from edge_occ.doctor.report import Check, CheckState, Diagnosis, EngineChoice
from edge_occ.mqtt.config import MqttConfig

CPU, NONE = EngineChoice("cpu", "of that"), EngineChoice(None, "of this")
FINE = Check("numpy", CheckState.OK, "2.2.6, ABI 2", needed=True)
BAD = Check("opencv", CheckState.WRONG, "broken", "pip install " + "x" * 300, needed=True)
ABSENT = Check("broker", CheckState.MISSING, "none", "sudo apt install mosquitto")
REMARK = Check("clock", CheckState.NOTE, "unknown", "date")


@pytest.mark.parametrize(
    ("checks", "engine", "code", "verdict"),
    [
        ((FINE, REMARK), CPU, 0, "edge-occ run can work here"),
        ((FINE, ABSENT, REMARK), CPU, 0, "edge-occ run can work here; to mend: broker"),
        ((FINE, BAD, ABSENT), CPU, 2, "edge-occ run cannot work here yet; in the way: opencv"),
        ((BAD,), NONE, 4, "edge-occ run cannot work here yet; in the way: opencv, no engine"),
        ((FINE,), NONE, 4, "edge-occ run cannot work here yet; in the way: no engine"),
    ],
)
def test_exit_status_and_verdict(checks, engine, code, verdict):
    report = Diagnosis(checks, engine)
    assert report.exit_code == code
    assert [line for _, line in report.lines()][-1] == verdict
    assert report.as_json()["ok"] == (code == 0)


def test_commands_stand_alone_on_their_lines():
    lines = [line for _, line in Diagnosis((FINE, BAD, ABSENT), CPU).lines()]
    assert lines[2].strip() == BAD.fix
    assert lines[4].strip() == ABSENT.fix
    assert lines[1].index("broken") == lines[3].index("none")


def test_this_machine(broker):
    report = diagnose(MqttConfig(broker=broker.url))
    assert report.exit_code == 0
    assert report.engine.name in ("cpu", "tensorrt")
    states = {check.name: check.state for check in report.checks}
    for name in ("numpy", "opencv", "onnxruntime", "broker"):
        assert states[name] is CheckState.OK, report.checks
    assert len(states) == len(report.checks)
    json.dumps(report.as_json())


def test_this_machine_as_a_jetson_whose_python_is_not_the_systems(monkeypatch):
    board = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    jetson = dataclasses.replace(read_machine(), board=board, l4t="36.4.3", system_python=False)
    monkeypatch.setattr(doctor, "read_machine", lambda: jetson)
    checks = {check.name: check for check in diagnose().checks}
    assert "JetPack 6.2 (Jetson Linux 36.4.3)" in checks["machine"].found
    assert checks["python"].state is CheckState.WRONG
    assert {"power mode", "argus"} <= checks.keys()
    if checks["tensorrt"].failed:
        assert checks["tensorrt"].fix == checks["python"].fix


def test_a_part_that_fails_does_not_take_the_others_with_it(monkeypatch):
    def fail(*_):
        raise RuntimeError("unheard of")

    for name in ("check_cameras", "check_broker", "read_vision", "read_gpu", "read_onnxruntime", "check_folders"):
        monkeypatch.setattr(doctor, name, fail)
    report = diagnose()
    assert report.exit_code == 4
    notes = [check.found for check in report.checks if "RuntimeError: unheard of" in check.found]
    assert len(notes) >= 5


def test_a_part_that_hangs_is_left_behind(monkeypatch):
    import threading

    monkeypatch.setattr(doctor, "check_broker", lambda *_: threading.Event().wait())
    monkeypatch.setattr(doctor, "_LONGEST", 2)
    checks = {check.name: check for check in diagnose().checks}
    assert checks["broker"].found == "could not be checked: no answer in time"


def alone(folder, *arguments):
    """``python -m edge_occ.doctor`` with the modules in a folder before all others."""
    paths = f"{folder}:{Path(__file__).parents[3]}"
    return subprocess.run(
        [sys.executable, "-m", "edge_occ.doctor", *arguments],
        env={"PYTHONPATH": paths, "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_it_works_where_opencv_typer_and_rich_do_not(tmp_path):
    for name in ("cv2", "typer", "rich", "yaml"):
        text = f"raise ImportError('lib{name}.so.1: cannot open shared object file')\n"
        (tmp_path / f"{name}.py").write_text(text)
    result = alone(tmp_path, "--json")
    assert result.returncode == 2, result
    assert result.stderr == ""
    content = json.loads(result.stdout)
    assert content["engine"]["name"] == "cpu"
    found = {check["name"]: check for check in content["checks"]}
    assert (found["opencv"]["state"], found["numpy"]["state"]) == ("wrong", "ok")
    assert "libcv2.so.1" in found["opencv"]["found"]
    plain = alone(tmp_path)
    assert plain.returncode == 2
    assert plain.stdout.splitlines()[-1].endswith("in the way: opencv")


def test_it_works_where_numpy_ends_the_interpreter(tmp_path):
    (tmp_path / "numpy.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    result = alone(tmp_path, "--json")
    # ONNX Runtime imports numpy too.
    assert result.returncode == 4, result
    found = {check["name"]: check["found"] for check in json.loads(result.stdout)["checks"]}
    assert found["numpy"] == "ended by SIGILL"
    assert found["opencv"] == "not tried, as it needs numpy"


def test_importing_it_loads_nothing_heavy():
    code = (
        "import sys, edge_occ.doctor\n"
        "heavy = {'numpy', 'cv2', 'typer', 'rich', 'pydantic', 'yaml', 'paho', 'onnxruntime', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
