"""``edge-occ recalibrate`` as users type it."""

import json
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from discs import part, write
from typer.testing import CliRunner

from edge_occ.bundle.bundle import read_bundle
from edge_occ.cli import app


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """MVTec's layout, under a darker lamp; one black picture and one twice."""
    folder = tmp_path_factory.mktemp("light") / "train" / "good"
    for i in range(104):
        write(folder / f"{i:03}.png", (part(6000 + i) * 0.8).astype(np.uint8))
    write(folder / "104.png", np.zeros((112, 112, 3), np.uint8))
    shutil.copy(folder / "000.png", folder / "105.png")
    return folder.parents[1]


@pytest.fixture
def path(tiny_bundle, tmp_path):
    return shutil.copy(tiny_bundle, tmp_path / "part.occ")


def edge_occ(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def test_one_object_says_what_was_done_and_the_bundle_stays_usable(path, pictures):
    before = read_bundle(path)
    result = edge_occ("recalibrate", path, "--data", pictures, "--engine", "cpu", "--json")
    (line,) = result.stdout.splitlines()
    done, after = json.loads(line), read_bundle(path)
    assert done == {
        "schema": "edge-occ/recalibration/1",
        "threshold_only": False,
        "frames": 104,
        "left_out": {"black": 1, "copy": 1},
        "threshold": {"old": before.manifest.calibration.threshold, "new": after.manifest.calibration.threshold},
        "calibration_n": 99,
        "certified": True,
        "held_out": {"n": 5, "false_alarms": after.manifest.recalibrated.false_alarms},
        "identity": {"old": before.manifest.identity, "new": after.manifest.identity},
    }
    told = result.stderr
    for words in ("104 frames; left out: 1 black, 1 copy", "heads fitted anew", "--rollback", "from 99 held-out"):
        assert words in told
    edge_occ("verify", path, "--engine", "cpu")
    shown = edge_occ("inspect", path).stdout
    assert f"recalibrated {after.manifest.recalibrated.at}: heads and threshold from 104 frames" in shown
    assert f"sha256 {after.manifest.recalibrated.parent}" in shown
    content = json.loads(edge_occ("inspect", path, "--json").stdout)
    assert content["recalibrated"]["frames"] == 104
    edge_occ("score", path, pictures / "train" / "good" / "003.png")


def test_back_to_the_version_before(path, pictures, tiny_bundle):
    edge_occ("recalibrate", path, "--data", pictures, "--threshold-only", "--frames", 20, "--engine", "cpu")
    assert path.read_bytes() != tiny_bundle.read_bytes()
    result = edge_occ("recalibrate", path, "--rollback", "--json")
    assert json.loads(result.stdout)["schema"] == "edge-occ/rollback/1"
    assert "is again the version that was put aside at" in result.stderr
    assert path.read_bytes() == tiny_bundle.read_bytes()
    assert "an earlier version" in edge_occ("recalibrate", path, "--rollback", code=2).stderr


def test_few_frames_and_the_number_that_the_declared_rate_needs(path, pictures):
    told = edge_occ("recalibrate", path, "--data", pictures, "--frames", 20, "--engine", "cpu", code=2).stderr
    assert "at least 104 frames: 99 for the declared rate of 1 in 100, and 5 to check it on" in told
    assert "--threshold-only" in told
    options = ("--data", pictures, "--frames", 20, "--threshold-only", "--engine", "cpu")
    told = edge_occ("recalibrate", path, *options).stderr
    assert "the heads stay" in told
    assert "the declared rate needs 99 frames" in told
    assert "threshold from 20 frames" in edge_occ("inspect", path).stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "one of --data and --source"),
        (("--data", "a", "--source", "b"), "one of --data and --source"),
        (("--source", "a"), "--frames with --source"),
        (("--rollback", "--data", "a"), "--rollback alone"),
        (("--rollback", "--threshold-only"), "--rollback alone"),
        (("--data", "nowhere"), "a folder of pictures"),
        (("--source", "rtsp://camera/1", "--frames", "9"), "a known kind of source"),
        (("--data", "nowhere", "--sha256", "12"), "a sha256"),
        (("--data", "nowhere", "--set", "guards.black=maybe"), "guards.black"),
        (("--data", "nowhere", "--out", "new.zip"), "ends in .occ"),
    ],
)
def test_wrong_arguments_change_nothing(path, options, words):
    before = path.read_bytes()
    assert words in edge_occ("recalibrate", path, *options, code=2).stderr
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["part.occ"]


def test_an_engine_that_is_not_there_or_a_damaged_bundle(path, pictures):
    told = edge_occ("recalibrate", path, "--data", pictures, "--precision", "int4", code=2).stderr
    assert "a precision of" in told
    path.write_bytes(path.read_bytes()[:-100])
    edge_occ("recalibrate", path, "--data", pictures, code=3)


def test_torch_is_not_imported(path, pictures):
    program = f"""
        import sys
        sys.modules["torch"] = sys.modules["trainer"] = None  # importing either raises ImportError
        from edge_occ.cli import app
        app(["recalibrate", {str(path)!r}, "--data", {str(pictures)!r}, "--engine", "cpu"], standalone_mode=False)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert read_bundle(path).manifest.recalibrated is not None


def test_ctrl_c_leaves_the_bundle_as_it_was(path, pictures):
    before = path.read_bytes()
    address = f"{pictures}/train/good/?loop=1&fps=20"
    command = [sys.executable, "-m", "edge_occ", "recalibrate", str(path), "--source", address, "--frames", "5000"]
    process = subprocess.Popen([*command, "--engine", "cpu"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "left out" not in process.stderr.readline():  # the black picture: it is collecting
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["part.occ"]
