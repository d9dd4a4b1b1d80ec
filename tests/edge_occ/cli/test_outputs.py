"""Streams that cannot be written, names that are not UTF-8, pictures that cannot be read: the line goes on."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from mqtt_helpers import Ear, free_port
from typer.testing import CliRunner

from edge_occ.cli import app

FULL = "/dev/full"
pytestmark = pytest.mark.skipif(not Path(FULL).exists(), reason="no /dev/full here")


def shell(line, *arguments, **environment):
    """A command line in which ``edge-occ`` is this one and ``$1``, ``$2`` are the arguments."""
    script = f'edge_occ() {{ "{sys.executable}" -m edge_occ "$@"; }}; {line}'
    command = ["bash", "-c", script, "bash", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60, env={**os.environ, **environment})


def edge_occ(*arguments):
    """A command in this process, for what no process of its own is needed to see."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(bundle, source, *options):
    options = ("--bundle", bundle, "--source", source, "--set", "engine.name=cpu", "--no-mqtt", *options)
    return edge_occ("run", *options)


@pytest.fixture
def pictures(tiny_data, tmp_path):
    """Four pictures, the second of them damaged."""
    folder = tmp_path / "line"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes((tiny_data / "test" / "spot" / f"00{number}.png").read_bytes())
    (folder / "1.png").write_bytes(b"\x89PNG damaged")
    return folder


RUN = 'edge_occ run --bundle "$1" --source "$2" --set engine.name=cpu --no-mqtt'


def objects(data):
    """Objects of lines of JSON, be they bytes of a process or text of a command in this one."""
    text = data if isinstance(data, str) else data.decode("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_damaged_picture_is_reported_everywhere(tiny_bundle, pictures):
    done = run(tiny_bundle, pictures)
    assert done.exit_code == 0
    assert "3 frames" in done.stderr
    assert "not inspected: 1 unreadable" in done.stderr
    assert "fault  1.png  unreadable: " in done.stderr
    lines = objects(run(tiny_bundle, pictures, "--json").stdout)
    assert [(line["frame"], line["name"]) for line in lines] == [(n, f"{n}.png") for n in range(4)]
    assert [line["verdict"] == "fault" for line in lines] == [False, True, False, False]
    assert lines[1]["schema"] == "edge-occ/fault/1"
    assert lines[1]["reason"] == "unreadable"
    assert "damaged" in lines[1]["detail"]
    assert "score" not in lines[1]
    assert set(lines[1]) >= {"captured_at"}
    for line in (lines[0], lines[2]):
        assert 0 < line["verdict_ms"] <= line["latency_ms"]


@pytest.mark.parametrize("redirect", [f"2>{FULL}", "2>&-"])
def test_a_log_that_cannot_be_written_stops_nothing(redirect, tiny_bundle, pictures):
    done = shell(f"{RUN} --json {redirect}", tiny_bundle, pictures)
    assert done.returncode == 0
    assert len(objects(done.stdout)) == 4
    assert shell(f"{RUN} {redirect}", tiny_bundle, pictures).returncode == 0


def test_lines_lost_to_a_full_disk_are_counted_and_the_status_says_so(tiny_bundle, pictures):
    done = shell(f"{RUN} --json >{FULL}", tiny_bundle, pictures)
    assert done.returncode == 2
    assert b"3 frames" in done.stderr, "all were inspected"
    assert done.stderr.count(b"inspection goes on") == 1
    assert b"output lost: 4 of standard output" in done.stderr
    assert [line.split()[0] for line in done.stderr.splitlines()[-3:]] == [b"expected", b"found", b"next"]
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_streams_that_are_all_closed_stop_nothing(tiny_bundle, pictures, tmp_path):
    done = shell(f'{RUN} --json <&- >&- 2>&-; echo $? > "$3"', tiny_bundle, pictures, tmp_path / "status")
    assert (tmp_path / "status").read_text() == "0\n"
    assert done.stdout == done.stderr == b""


def test_a_run_for_nobody_but_a_reader_ends_quietly_with_it(tiny_bundle, pictures):
    endless = f"{pictures}?loop=1"
    done = shell(f"{RUN} --json | head -1; echo ${{PIPESTATUS[0]}}", tiny_bundle, endless)
    first, status = done.stdout.decode().splitlines()
    assert json.loads(first)["frame"] == 0
    assert status == "0"
    for word in (b"Traceback", b"ERROR", b"roken pipe", b"interrupted"):
        assert word not in done.stderr
    done = shell(f"{RUN} 2>&1 | head -2 >/dev/null; echo ${{PIPESTATUS[0]}}", tiny_bundle, endless)
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_with_mqtt_the_line_goes_on_without_a_reader_and_the_statistics_say_what_was_lost(
    broker, tiny_bundle, pictures
):
    device = f"d{free_port()}"
    mqtt = f'--set mqtt.broker="{broker.url}" --set mqtt.device={device} --set mqtt.stats_seconds=0.1'
    line = f"{RUN.replace('--no-mqtt', mqtt)} --json 2>{FULL} | head -1; echo ${{PIPESTATUS[0]}}"
    with Ear(broker.port, f"edge-occ/{device}/#") as ear:
        begun = time.monotonic()
        done = shell(line, tiny_bundle, f"{pictures}?fps=8")
        assert done.stdout.decode().splitlines()[1] == "0"
        ear.wait_for_state("offline")
        seconds = time.monotonic() - begun
        stats = json.loads(bytes(ear.of("stats")[-1].payload))
        scores = [json.loads(bytes(message.payload))["frame"] for message in ear.of("score")]
    assert scores == [0, 2, 3]
    assert (stats["frames"], stats["faults"], stats["faults_unreadable"], stats["faults_engine"]) == (3, 1, 1, 0)
    assert stats["output_lost"] >= 2 + 2, "two lines for the reader, and those for people"
    assert 0 <= stats["silent_s"] <= seconds


def test_score_reports_the_bad_ones_scores_the_others_and_says_so_at_the_end(tiny_bundle, pictures, tmp_path):
    done = edge_occ("score", tiny_bundle, pictures, tmp_path / "nowhere", pictures / "0.png", "--json")
    lines = objects(done.stdout)
    assert [line["path"].rsplit("/", 1)[1] for line in lines] == ["0.png", "1.png", "2.png", "3.png", "0.png"]
    assert [line["verdict"] == "fault" for line in lines] == [False, True, False, False, False]
    assert done.exit_code == 2
    assert "1 of 5 pictures that cannot be scored and 1 of 3 paths without pictures" in done.stderr
    assert "nowhere" in done.stderr
    plain = edge_occ("score", tiny_bundle, pictures)
    assert len(plain.stdout.splitlines()) == 3
    assert "1.png" in plain.stderr
    assert plain.exit_code == 2


def test_score_ends_quietly_without_a_reader_and_with_a_word_on_a_full_disk(tiny_bundle, pictures):
    done = shell('edge_occ score "$1" "$2/0.png" "$2" "$2" | head -1; echo ${PIPESTATUS[0]}', tiny_bundle, pictures)
    assert len(done.stdout.splitlines()) == 2
    assert b"Traceback" not in done.stderr
    assert b"roken pipe" not in done.stderr
    for command in ("score", "inspect"):
        paths = '"$2/0.png"' if command == "score" else ""
        done = shell(f'edge_occ {command} "$1" {paths} >{FULL}', tiny_bundle, pictures)
        assert done.returncode == 2
        assert b"No space left on device" in done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "en_US.UTF-8", "PYTHONIOENCODING": "utf-8:strict"}, {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1"}],
)
def test_no_name_ends_anything_in_any_encoding(tiny_bundle, tiny_data, tmp_path, environment):
    (tmp_path / "line").mkdir()
    picture = (tiny_data / "test" / "good" / "000.png").read_bytes()
    for name in (b"a_Stra\xdfe.png", "b_零件.png".encode()):
        (tmp_path / "line" / os.fsdecode(name)).write_bytes(picture)
    (tmp_path / "line" / os.fsdecode(b"c_\xff.png")).write_bytes(b"damaged")
    both = '{ edge_occ score "$1" "$2" --json; ' + RUN + " --json; }"
    done = shell(both, tiny_bundle, tmp_path / "line", **environment)
    lines = objects(done.stdout)
    names = [Path(line.get("path") or line["name"]).name for line in lines]
    assert [name[0] for name in names] == ["a", "b", "c"] * 2
    assert names[0] == "a_Stra\N{REPLACEMENT CHARACTER}e.png"
    assert names[1] == names[4] == "b_零件.png"
    assert [line["verdict"] == "fault" for line in lines] == [False, False, True] * 2
    assert b"2 frames" in done.stderr
    plain = shell('edge_occ score "$1" "$2"', tiny_bundle, tmp_path / "line", **environment)
    assert len(plain.stdout.splitlines()) == 2
    assert b"Traceback" not in plain.stderr


def test_half_a_video_is_inspected_and_named_and_the_status_says_so(tiny_bundle, tmp_path):
    path = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (112, 112))
    for number in range(40):
        writer.write(np.random.default_rng(number).integers(0, 255, (112, 112, 3)).astype(np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = run(tiny_bundle, path, "--json")
    played = len(objects(done.stdout))
    assert 0 < played < 40
    assert done.exit_code == 5
    assert f"{played} frames, " in done.stderr, "the summary is printed, too"
    assert "expected  40 frames" in done.stderr
    assert f"{played} in the file" in done.stderr


@pytest.mark.parametrize("way", ["", "--json"])
def test_a_reader_that_has_stopped_reading_does_not_stop_a_live_line(way, broker, tiny_bundle, pictures):
    """A stopped terminal, a stalled log: the pipe is filled before, so that no line fits into it."""
    device = f"d{free_port()}"
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    mqtt = f'--set mqtt.broker="{broker.url}" --set mqtt.device={device} --set mqtt.stats_seconds=0.1'
    script = f"{RUN.replace('--no-mqtt', mqtt)} {way} --max-frames 9".replace(
        "edge_occ", f'"{sys.executable}" -m edge_occ'
    )
    command = ["bash", "-c", f"exec {script}", "bash", str(tiny_bundle), f"{pictures}?live=1&fps=20&loop=1"]
    with Ear(broker.port, f"edge-occ/{device}/#") as ear:
        process = subprocess.Popen(command, stdout=writer, stderr=writer)
        os.close(writer)
        try:
            status = process.wait(40)
        finally:
            process.kill()
        stats = json.loads(bytes(ear.wait_for_kind("stats")[-1].payload))
        ear.wait_for_state("offline")
    assert status == (2 if way else 0)
    assert stats["output_lost"] > 0
    assert len(ear.of("score")) == 9
    with os.fdopen(reader, "rb") as file:
        assert len(file.read()) == filled


@pytest.mark.parametrize("command", ["edge_occ --help", "edge_occ run --help", "edge_occ --version"])
def test_help_on_a_full_disk_is_an_error_of_three_lines(command):
    done = shell(f"{command} > {FULL}")
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stderr.decode().splitlines()] == ["expected", "found", "next"]
