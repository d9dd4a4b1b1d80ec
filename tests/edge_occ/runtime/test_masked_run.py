"""A run with a mask: what lies outside starts no event."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from discs import SIDE, part, write
from typer.testing import CliRunner

from edge_occ.cli import app
from edge_occ.common.images import read_image

SPOT = (92, 20)
"""Centre of the defect, right above; no window of the lower left corner shows it."""

AROUND = [[72, 0], [112, 0], [112, 40], [72, 40]]
ELSEWHERE = [[0, 82], [30, 82], [30, 112], [0, 112]]
EVERYTHING = [[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]]


@pytest.fixture(scope="module")
def spotted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spotted")
    for seed in range(3):
        image = part(300 + seed)
        cv2.circle(image, SPOT, 9, (20, 20, 220), -1)
        write(folder / f"{seed}.png", image)
    return folder


def polygons(path, **content):
    path.write_text(json.dumps(content))
    return path


def run(bundle, folder, *settings, sources=None):
    sources = sources or ["--source", folder]
    options = [option for setting in settings for option in ("--set", setting)]
    arguments = ["run", *sources, "--bundle", bundle, "--json", "--no-mqtt", "--set", "engine.name=cpu", *options]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result, [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def unmasked(tiny_bundle, spotted):
    result, lines = run(tiny_bundle, spotted)
    assert result.exit_code == 0, result.output
    assert [line["verdict"] for line in lines] == ["anomalous"] * 3
    return lines


def test_a_defect_outside_the_mask_gives_no_event_and_one_inside_does(tiny_bundle, spotted, unmasked, tmp_path):
    for inspect, events in ((AROUND, 1), (ELSEWHERE, 0)):
        mask = polygons(tmp_path / "mask.json", inspect=[inspect])
        result, lines = run(tiny_bundle, spotted, f"mask={mask}")
        assert result.exit_code == 0, result.output
        assert f"{3 * events} anomalous" in result.stderr
        assert f"{events} events" in result.stderr
        for line, before in zip(lines, unmasked, strict=True):
            assert line.keys() == before.keys(), "the lines have no new keys"
            assert line["score"] <= before["score"]
            assert line["threshold"] == before["threshold"]


def test_a_mask_of_everything_changes_no_score(tiny_bundle, spotted, unmasked, tmp_path):
    cv2.imwrite(str(tmp_path / "mask.png"), np.full((SIDE, SIDE), 255, np.uint8))
    polygons(tmp_path / "mask.json", inspect=[EVERYTHING])
    for name in ("mask.png", "mask.json"):
        _, lines = run(tiny_bundle, spotted, f"mask={tmp_path / name}")
        assert [line["score"] for line in lines] == pytest.approx([line["score"] for line in unmasked])


def test_each_camera_has_its_own_mask_and_others_none(tiny_bundle, spotted, tmp_path):
    mask = polygons(tmp_path / "mask.json", inspect=[ELSEWHERE])
    sources = ["--source", f"left={spotted}", "--source", f"right={spotted}"]
    _, lines = run(tiny_bundle, spotted, f"mask={{left: {mask}}}", sources=sources)
    for camera, verdict in (("left", "normal"), ("right", "anomalous")):
        assert {line["verdict"] for line in lines if line["camera"] == camera} == {verdict}


def test_with_a_rectangle_the_mask_is_in_pixels_of_the_whole_frame(tiny_bundle, spotted, tmp_path):
    """Frames are padded on the left and above; the rectangle shows what they were."""
    for path in spotted.iterdir():
        write(tmp_path / "padded" / path.name, np.pad(read_image(path), ((40, 0), (60, 0), (0, 0))))
    roi = f"roi=[60, 40, {SIDE}, {SIDE}]"
    for inspect, verdict in ((AROUND, "anomalous"), (ELSEWHERE, "normal")):
        mask = polygons(tmp_path / "mask.json", inspect=[[(x + 60, y + 40) for x, y in inspect]])
        _, lines = run(tiny_bundle, tmp_path / "padded", roi, f"mask={mask}")
        assert {line["verdict"] for line in lines} == {verdict}
    mask = polygons(tmp_path / "mask.json", inspect=[[[0, 0], [50, 0], [50, 30]]])
    result, _ = run(tiny_bundle, tmp_path / "padded", roi, f"mask={mask}")
    assert result.exit_code == 2
    assert "something to inspect in roi" in result.stderr


@pytest.mark.parametrize(
    ("write_mask", "found"),
    [
        (lambda _: None, "no such file"),
        (lambda path: path.write_text('{"inspect": [[[1, 1], [2, 2]]]}'), "inspect.0: "),
        (lambda path: polygons(path, inspect=[AROUND], ignore=[EVERYTHING]), "nothing in"),
        (lambda path: polygons(path, inspect=[[[1, 1], [500, 1], [1, 9]]]), "a corner at (500, 1)"),
    ],
)
def test_a_mask_that_cannot_be_used_ends_the_run(write_mask, found, tiny_bundle, spotted, tmp_path):
    write_mask(tmp_path / "mask.json")
    result, lines = run(tiny_bundle, spotted, f"mask={tmp_path / 'mask.json'}")
    assert result.exit_code == 2
    assert found in result.stderr
    assert not any("score" in line for line in lines)


def test_a_frame_of_another_size_than_the_mask_is_a_fault_and_not_an_anomaly(tiny_bundle, spotted, tmp_path):
    for path in spotted.iterdir():
        write(tmp_path / "frames" / path.name, read_image(path))
    write(tmp_path / "frames" / "larger.png", np.tile(part(0), (1, 2, 1)))
    cv2.imwrite(str(tmp_path / "mask.png"), np.full((SIDE, SIDE), 255, np.uint8))
    result, lines = run(tiny_bundle, tmp_path / "frames", f"mask={tmp_path / 'mask.png'}")
    assert result.exit_code == 0, result.output
    (fault,) = (line for line in lines if line["schema"] == "edge-occ/fault/1")
    assert (fault["name"], fault["reason"]) == ("larger.png", "frame")
    assert f"frames of {2 * SIDE}x{SIDE} pixels" in fault["detail"]
