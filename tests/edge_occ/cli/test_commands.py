"""The commands as a user and as a script meet them."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import safe_open
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from edge_occ.bundle.bundle import ENCODER_GRAPH, read_bundle, write_bundle
from edge_occ.bundle.manifest import FORMAT
from edge_occ.cli import app
from edge_occ.common.progress import ProgressReport

PRESETS = ["quick", "auto", "imagenet", "scratch", "paper", "paper-image", "rotation", "contrastive-da"]
COMMANDS = [
    *("run", "record", "watch", "dashboard", "score", "inspect", "verify", "compile", "recalibrate", "bench"),
    *("events", "doctor"),
    *("train", "evaluate", "review", "refit", "reproduce", "demo"),
]


def edge_occ(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def start(*arguments, **options):
    command = [sys.executable, "-m", "edge_occ", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def group() -> TyperGroup:
    found = get_command(app)
    assert isinstance(found, TyperGroup)
    return found


def find(name):
    """A command as the group finds it, be it of this package or of another."""
    return group().get_command(None, name)


def test_help_names_every_command():
    text = edge_occ("--help").output
    assert group().list_commands(None) == COMMANDS
    for command in COMMANDS:
        assert re.search(rf"^│ {command} ", text, re.MULTILINE), command


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_and_flags_take_no_value(name):
    command = find(name)
    assert [param.name for param in command.params if not param.help] == []
    page = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).output
    flags = [param for param in command.params if getattr(param, "is_flag", False)]
    for option in ["--help", *(option for flag in flags for option in flag.opts)]:
        # Two spaces or more, and then what it does: neither a type nor a name of a value between.
        (text,) = re.findall(rf"^│.*{option}(?:\s+(?:-\w|--no-[a-z-]+))?\s{{2,}}(\S.*?)\s*│$", page, re.MULTILINE)
        assert re.match(r"[A-Z][a-z]", text), (option, text)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example_that_it_understands(name):
    command = find(name)
    examples = re.findall(r"`edge-occ ([^`]+)`", command.help)
    assert examples
    for example in examples:
        called, *words = shlex.split(example)
        assert called == name
        command.make_context(called, words)


def test_version():
    from edge_occ import __version__

    assert edge_occ("--version").stdout.strip() == f"edge-occ {__version__}"


@pytest.mark.train
def test_evaluate_prints_the_contracts_fields_and_nothing_else(tiny_bundle, tiny_data, tmp_path):
    result = edge_occ("evaluate", tiny_bundle, "--data", tiny_data, "--json", "--report", tmp_path / "report")
    content = json.loads(result.stdout)
    assert content["images"]["good"] == 6
    assert content["images"]["defect"] == 7
    assert set(content["per_defect"]) == {"scratch", "spot"}
    for name in ("image_auroc", "pixel_auroc", "aupro", "f1_max"):
        assert 0 <= content[name] <= 1
    assert content["aupimo"] is None  # so few good pixels show no rate of 1 in 100,000
    assert {kind["aupimo"] for kind in content["per_defect"].values()} == {None}
    assert set(content["false_alarms"]) >= {"declared", "calibration_n", "upper_95", "observed", "observed_n"}
    assert content["engine"]["name"] == "cpu"
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000


def test_score_prints_a_line_a_picture(tiny_bundle, tiny_data):
    result = edge_occ(
        "score", tiny_bundle, tiny_data / "test" / "good", tiny_data / "test" / "spot" / "000.png", "--json"
    )
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == 7
    for line in lines:
        assert (line["verdict"] == "anomalous") == (line["score"] > line["threshold"])
        assert 0 < line["p_value"] <= 1
    plain = edge_occ("score", tiny_bundle, tiny_data / "test" / "good").stdout
    assert len(plain.splitlines()) == 6


def test_inspect_and_verify(tiny_bundle):
    assert "Model card" in edge_occ("inspect", tiny_bundle).stdout
    manifest = json.loads(edge_occ("inspect", tiny_bundle, "--json").stdout)
    points = manifest["operating_points"]
    assert [point["false_alarm_rate"] for point in points] == [0.01, 0.02, 0.05, 0.1]
    assert [point["threshold"] for point in points] == sorted((point["threshold"] for point in points), reverse=True)
    assert manifest["format"] == FORMAT
    parity = json.loads(edge_occ("verify", tiny_bundle, "--json").stdout)
    assert parity["score_error"] < 1e-3
    assert "parity on 6 golden frames" in edge_occ("verify", tiny_bundle).stderr


def test_bench_has_the_contracts_fields(tiny_bundle):
    content = json.loads(edge_occ("bench", tiny_bundle, "--frames", 12, "--json").stdout)
    assert set(content["engine"]["ms"]) == {"p50", "p95", "p99"}
    assert set(content["end_to_end"]) == {"fps", "ms", "of_engine", "paced_fps"}
    assert set(content["end_to_end"]["ms"]) == {"p50", "p95", "p99"}
    assert content["dense"]["ratio"] > 0
    assert content["dense"]["max_abs_difference"] < 1e-4
    assert content["grid"] == [5, 5]
    assert {"rss_mb", "cold_start_s", "input"} <= set(content)


def test_bench_says_where_no_encoder_is_exact_window_by_window(tiny_bundle, tmp_path):
    bundle = read_bundle(tiny_bundle)
    members = {name: data for name, data in bundle.members.items() if name != ENCODER_GRAPH}
    without = tmp_path / "without.occ"
    write_bundle(without, bundle.manifest.model_dump(exclude={"members"}), members)
    assert json.loads(edge_occ("bench", without, "--frames", 10, "--json").stdout)["dense"] is None
    assert "no encoder in this bundle is exact window by window" in edge_occ("bench", without, "--frames", 10).stderr


def test_run_without_mqtt_prints_a_line_a_frame(tiny_bundle, tiny_data):
    result = edge_occ("run", "--source", tiny_data / "test" / "spot", "--bundle", tiny_bundle, "--no-mqtt", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3]
    assert [line["name"] for line in lines] == ["000.png", "001.png", "002.png", "003.png"]
    assert "4 frames" in result.stderr
    limited = edge_occ(
        "run",
        "--source",
        tiny_data / "test" / "spot",
        "--bundle",
        tiny_bundle,
        "--no-mqtt",
        "--json",
        "--max-frames",
        2,
    )
    assert len(limited.stdout.splitlines()) == 2


def test_run_imports_no_torch_and_stays_small(tiny_bundle, tiny_data):
    """Contract: under 350 MB resident."""
    code = (
        "import sys; from typer.testing import CliRunner; from edge_occ.cli import app;"
        "result = CliRunner().invoke(app, sys.argv[1:]); assert result.exit_code == 0, result.output;"
        "assert 'torch' not in sys.modules and 'trainer' not in sys.modules;"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    arguments = ["run", "--source", str(tiny_data / "test" / "spot"), "--bundle", str(tiny_bundle), "--no-mqtt"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 350_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_run_cleanly(tiny_bundle, tiny_data, number):
    source = f"{tiny_data / 'test' / 'good'}?fps=20&loop=1"
    process = start("run", "--source", source, "--bundle", tiny_bundle, "--no-mqtt", "--json")
    assert json.loads(process.stdout.readline())["frame"] == 0
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "frames," in errors
    assert "interrupted" in errors
    assert "Traceback" not in errors


@pytest.mark.long
@pytest.mark.train
def test_ctrl_c_during_training_leaves_a_checkpoint_that_the_same_command_goes_on_from(
    tiny_data, tmp_path, monkeypatch
):
    out = tmp_path / "part.occ"
    settings = [
        "input.size=96",
        "encoder.width=4",
        "encoder.dim=16",
        "head.dim=8",
        "optimiser.batch=2",
        "calibration.folds=2",
        "export.fp16=false",
        "export.int8=false",
    ]
    options = [
        part
        for setting in [*settings, "optimiser.steps=200", "optimiser.checkpoint_seconds=0.1"]
        for part in ("--set", setting)
    ]
    command = ["train", "--data", tiny_data, "--out", out, "--device", "cpu", *options]
    process = start(*command)
    checkpoint = tmp_path / "part.train" / "checkpoint.safetensors"
    # The limits are for a process that hangs: on a busy machine it takes minutes to import torch.
    deadline = time.monotonic() + 600
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130, errors
    assert not out.exists()
    with safe_open(checkpoint, "np") as file:
        step = json.loads(file.metadata()["edge_occ"])["step"]
    assert 0 < step < 200
    taken = []
    monkeypatch.setattr(ProgressReport, "advance", lambda self, *note, steps=1: taken.append((self._title, steps)))
    edge_occ(*command)
    assert taken.count(("training", 1)) == 200 - step
    assert out.exists()
    assert not checkpoint.exists()


def test_a_missing_system_library_is_reported():
    """OpenCV from PyPI needs libGL, which servers and containers often lack."""
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'cv2': raise ImportError('libGL.so.1: cannot open shared object file')\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from edge_occ.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["expected", "found", "next"]
    assert "apt install libgl1" in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"]])
def test_a_reader_that_leaves_before_the_help_is_no_error(words):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "edge_occ", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_pipe_is_no_error(tiny_bundle, tiny_data):
    source = f"{tiny_data / 'test' / 'good'}?loop=1"
    process = start("run", "--source", source, "--bundle", tiny_bundle, "--no-mqtt", "--json")
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=20) == 0
    assert " frames, " in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_the_checkout_and_an_installed_wheel_find_the_presets(tmp_path):
    from edge_occ.common.settings import configs, preset

    for name in PRESETS:
        assert preset(name).is_file(), name
    assert (Path(configs()) / "run.yaml").is_file()
    assert os.access(preset("quick"), os.R_OK)
