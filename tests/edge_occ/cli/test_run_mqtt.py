"""The inspector and a subscriber, as two processes at a real broker."""

import json
import subprocess
import sys
from uuid import uuid4

import cv2
import numpy as np
import pytest
from mqtt_helpers import Mosquitto, free_port
from typer.testing import CliRunner

from edge_occ.cli import app
from edge_occ.mqtt.jpeg import read_comment


def start(*arguments):
    command = [sys.executable, "-m", "edge_occ", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def edge_occ(*arguments):
    """A command in this process, for what no process of its own is needed to see."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def watching(broker, tmp_path):
    """A subscriber that has subscribed, its prefix, and the folder that it writes to."""
    prefix = f"plant/{uuid4().hex[:8]}"
    process = start(
        "watch", "--broker", broker.url, "--prefix", prefix, "--save", tmp_path / "heard", "--until-offline"
    )
    assert process.stderr.readline().startswith("watching")
    yield process, prefix, tmp_path / "heard"
    process.kill()
    process.communicate()


def test_what_the_inspector_saw_arrives(watching, broker, tiny_bundle, tiny_data):
    watcher, prefix, heard = watching
    source = f"{tiny_data / 'test' / 'spot'}?fps=8"
    options = ["--broker", broker.url, "--set", f"mqtt.prefix={prefix}", "--set", "mqtt.device=press-1"]
    runner = start("run", "--source", source, "--bundle", tiny_bundle, "--json", *options)
    printed, errors = runner.communicate(timeout=60)
    assert runner.returncode == 0, errors
    shown, _ = watcher.communicate(timeout=20)
    assert watcher.returncode == 0
    scores = [line["payload"] for line in lines(heard / "scores.jsonl")]
    assert [score["frame"] for score in scores] == [0, 1, 2, 3]
    assert [score["name"] for score in scores] == ["000.png", "001.png", "002.png", "003.png"]
    for heard_score, line in zip(scores, printed.splitlines(), strict=True):
        frame = json.loads(line)
        assert heard_score["score"] == frame["score"]
        assert heard_score["verdict"] == frame["verdict"]
        assert heard_score["latency_ms"] > 0
    states = [line["payload"]["state"] for line in lines(heard / "status.jsonl")]
    assert states[-2:] == ["online", "offline"]
    anomalous = [score["verdict"] == "anomalous" for score in scores]
    events = [line["payload"] for line in lines(heard / "events.jsonl")]
    begun = sum(now and not before for before, now in zip([False, *anomalous], anomalous, strict=False))
    assert sum(event["phase"] == "start" for event in events) == begun
    assert sum(event["phase"] == "end" for event in events) == begun
    for path in (heard / "heatmaps" / "press-1").iterdir():
        data = path.read_bytes()
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (112, 112, 3)
        assert json.loads(read_comment(data))["frame"] == int(path.stem)
    assert list((heard / "heatmaps" / "press-1").iterdir())
    assert "press-1" in shown


def test_a_prefix_of_several_lines_is_for_subscribers(tiny_bundle, tiny_data):
    options = ["--source", tiny_data / "test" / "spot", "--bundle", tiny_bundle, "--set", "mqtt.prefix=acme/+/edge-occ"]
    result = edge_occ("run", *options)
    assert result.exit_code == 2
    assert "wildcard" in result.stderr


def test_events_that_the_broker_does_not_take_end_the_run_with_a_status_of_its_own(tmp_path, tiny_bundle, tiny_data):
    (tmp_path / "acl").write_text("topic deny edge-occ/+/event\ntopic readwrite #\n")
    (tmp_path / "acl").chmod(0o600)
    broker = Mosquitto(tmp_path, ["allow_anonymous true", f"acl_file {tmp_path / 'acl'}"]).start()
    try:
        options = ["--broker", broker.url, "--set", "mqtt.device=press-1", "--set", "event.release=0.001"]
        run = start("run", "--source", tiny_data / "test" / "spot", "--bundle", tiny_bundle, "--json", *options)
        printed, errors = run.communicate(timeout=60)
    finally:
        broker.stop()
    assert run.returncode == 6, errors
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line["schema"] for line in lines] == ["edge-occ/score/1"] * 4 + ["edge-occ/undelivered/1"]
    assert lines[-1]["events"] == lines[-1]["refused"] >= 2  # a start and an end
    assert f"{lines[-1]['events']} lost" in errors
    assert "edge-occ/press-1/event" in errors
    assert "Traceback" not in errors


def test_a_second_inspector_of_the_same_name_on_this_machine_is_refused(broker, tiny_bundle, tiny_data):
    source = f"{tiny_data / 'test' / 'good'}?fps=20&loop=1"
    names = ["--set", f"mqtt.prefix=plant/{uuid4().hex[:8]}", "--set", "mqtt.device=press-1"]
    common = ["run", "--source", source, "--bundle", tiny_bundle, "--broker", broker.url, *names, "--json"]
    first = start(*common)
    first.stdout.readline()  # a frame was scored
    second = edge_occ(*common)
    assert second.exit_code == 2
    assert "--set mqtt.camera=NAME" in second.stderr
    third = edge_occ(*common, "--set", "mqtt.camera=left", "--max-frames", 3)
    assert third.exit_code == 0, third.stderr
    first.terminate()
    _, errors = first.communicate(timeout=30)
    assert first.returncode == 130
    assert "lost" not in errors


def test_watch_takes_the_file_of_the_inspector(broker, tmp_path, tiny_bundle, tiny_data):
    settings = tmp_path / "run.yaml"
    settings.write_text(f"mqtt:\n  broker: {broker.url}\n  prefix: plant/{uuid4().hex[:8]}\n  device: press-1\n")
    watcher = start("watch", "--config", settings, "--until-offline")
    assert watcher.stderr.readline().startswith(f"watching {broker.url}, topics plant/")
    source = tiny_data / "test" / "good"
    run = edge_occ("run", "--source", source, "--bundle", tiny_bundle, "--config", settings)
    assert run.exit_code == 0, run.stderr
    shown, _ = watcher.communicate(timeout=20)
    assert "press-1  score" in shown
    settings.write_text(f"mqtt:\n  broker: {broker.url.replace('mqtt', 'mqtts')}\n  ca: /no/such.pem\n")
    refused = edge_occ("watch", "--config", settings)
    assert refused.exit_code == 2
    assert "/no/such.pem" in refused.stderr


def test_heatmaps_of_large_frames_are_as_large_as_set_and_boxes_are_in_the_frame(
    watching, broker, tiny_bundle, tiny_data, tmp_path
):
    watcher, prefix, heard = watching
    source = tmp_path / "frames" / "large.png"
    source.parent.mkdir()
    spot = cv2.imread(str(tiny_data / "test" / "spot" / "001.png"))
    assert cv2.imwrite(str(source), spot.repeat(10, axis=0).repeat(20, axis=1))
    settings = [f"mqtt.prefix={prefix}", "mqtt.device=press-1", "mqtt.heatmap_side=80"]
    options = [part for setting in settings for part in ("--set", setting)]
    ran = edge_occ("run", "--source", source.parent, "--bundle", tiny_bundle, "--broker", broker.url, *options)
    assert ran.exit_code == 0, ran.stderr
    watcher.communicate(timeout=20)
    (path,) = (heard / "heatmaps" / "press-1").iterdir()
    assert cv2.imread(str(path)).shape == (40, 80, 3)
    boxes = [box for line in lines(heard / "events.jsonl") for box in line["payload"]["boxes"]]
    assert boxes
    # The spot lies within these pixels of the small picture.
    covered = np.zeros((1120, 2240), bool)
    for box in boxes:
        assert box["x"] + box["width"] <= 2240
        assert box["y"] + box["height"] <= 1120
        covered[box["y"] : box["y"] + box["height"], box["x"] : box["x"] + box["width"]] = True
    mask = cv2.imread(str(tiny_data / "ground_truth" / "spot" / "001_mask.png"), cv2.IMREAD_GRAYSCALE) > 0
    assert covered[mask.repeat(10, axis=0).repeat(20, axis=1)].mean() > 0.5


def test_without_any_broker_one_is_started_for_the_run(tiny_bundle, tiny_data):
    port = free_port()
    source = f"{tiny_data / 'test' / 'good'}?fps=4&loop=1"
    options = ["--set", f"mqtt.broker=mqtt://127.0.0.1:{port}", "--set", "mqtt.device=bench", "--max-frames", 40]
    runner = start("run", "--source", source, "--bundle", tiny_bundle, "--json", *options)
    runner.stdout.readline()  # a frame was scored, so the broker is up
    watcher = start("watch", "--broker", f"mqtt://127.0.0.1:{port}", "--until-offline")
    heard = [watcher.stdout.readline().split() for _ in range(6)]
    runner.terminate()
    _, errors = runner.communicate(timeout=30)
    assert runner.returncode == 130
    assert "started one for this run" in errors
    assert "Traceback" not in errors
    watcher.terminate()
    watcher.communicate(timeout=30)
    assert {words[1] for words in heard} == {"bench"}
    assert "score" in {words[2] for words in heard}
