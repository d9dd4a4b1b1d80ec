"""The inspector and a subscriber, as two processes at a real broker."""

import json
import subprocess
import sys
from uuid import uuid4

import cv2
import numpy as np
import pytest
from mqtt_helpers import free_port

from edge_occ.mqtt.jpeg import read_comment


def start(*arguments):
    command = [sys.executable, "-m", "edge_occ", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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
    for path in (heard / "heatmaps").iterdir():
        data = path.read_bytes()
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (112, 112, 3)
        assert json.loads(read_comment(data))["frame"] == int(path.stem)
    assert list((heard / "heatmaps").iterdir())
    assert "press-1" in shown


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
    runner = start("run", "--source", source.parent, "--bundle", tiny_bundle, "--broker", broker.url, *options)
    _, errors = runner.communicate(timeout=60)
    assert runner.returncode == 0, errors
    watcher.communicate(timeout=20)
    (path,) = (heard / "heatmaps").iterdir()
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
