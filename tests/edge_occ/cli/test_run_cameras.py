"""Several cameras in one run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from mqtt_helpers import Ear
from typer.testing import CliRunner

from edge_occ.cli import app


def edge_occ(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_cameras_share_an_engine_and_have_their_own_lines_topics_and_states(broker, tiny_bundle, tiny_data):
    device = f"d{uuid4().hex[:8]}"
    settings = ["--broker", broker.url, "--set", f"mqtt.device={device}"]
    sources = ["--source", f"left={tiny_data / 'test' / 'good'}", "--source", f"right={tiny_data / 'test' / 'spot'}"]
    with Ear(broker.port, f"edge-occ/{device}/#") as ear:
        result = edge_occ("run", *sources, "--bundle", tiny_bundle, "--json", *settings)
        assert result.exit_code == 0, result.output
        ear.wait_for_state("offline")
        topics = {message.topic.removeprefix(f"edge-occ/{device}/") for message in ear.heard}
        scores = [json.loads(bytes(message.payload)) for message in ear.of("score")]
    assert {"left/status", "left/score", "right/status", "right/score"} <= topics
    assert not any("/" not in topic for topic in topics)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    for camera, kind in (("left", "good"), ("right", "spot")):
        names = sorted(path.name for path in (tiny_data / "test" / kind).iterdir())
        for found in (lines, scores):
            assert [line["name"] for line in found if line["camera"] == camera] == names
    assert result.stderr.count("engine ") == 1
    assert re.search(r"^left: \d+ frames", result.stderr, re.MULTILINE)
    assert re.search(r"^right: \d+ frames", result.stderr, re.MULTILINE)


def test_a_dead_camera_stops_no_other(tiny_bundle, tiny_data):
    missing = next(n for n in range(999, 0, -1) if not Path(f"/dev/video{n}").exists())
    sources = ["--source", f"dead={missing}", "--source", f"right={tiny_data / 'test' / 'spot'}?loop=1"]
    command = [sys.executable, "-m", "edge_occ", "run", *sources, "--bundle", str(tiny_bundle), "--json", "--no-mqtt"]
    result = subprocess.run([*command, "--max-frames", "9"], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["camera"] for line in lines] == ["right"] * 9
    assert "dead: 0 frames" in result.stderr


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["0", "1"], "a name for each of several cameras"),
        (["left=0", "1"], "a name for each of several cameras"),
        (["left=0", "left=1"], "left twice"),
        (["rtsp://user:s3cret@host/a", "left=1"], "found rtsp://host/a"),
    ],
)
def test_cameras_without_names_of_their_own_are_refused(sources, words, tiny_bundle):
    arguments = [part for source in sources for part in ("--source", source)]
    result = edge_occ("run", *arguments, "--bundle", tiny_bundle, "--no-mqtt")
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert "s3cret" not in result.output


def test_a_single_camera_may_have_a_name(tiny_bundle, tiny_data):
    result = edge_occ(
        "run", "--source", f"press={tiny_data / 'test' / 'spot'}", "--bundle", tiny_bundle, "--no-mqtt", "--json"
    )
    assert result.exit_code == 0, result.output
    assert {json.loads(line)["camera"] for line in result.stdout.splitlines()} == {"press"}


def test_pictures_are_inspected_as_they_are_written_into_a_watched_folder(tiny_bundle, tiny_data, tmp_path):
    shutil.copy(next((tiny_data / "test" / "spot").iterdir()), tmp_path / "first.png")
    source = f"{tmp_path}?watch=all&settle=0"
    result = edge_occ("run", "--source", source, "--bundle", tiny_bundle, "--no-mqtt", "--json", "--max-frames", 1)
    assert result.exit_code == 0, result.output
    (line,) = map(json.loads, result.stdout.splitlines())
    assert line["name"] == "first.png"
