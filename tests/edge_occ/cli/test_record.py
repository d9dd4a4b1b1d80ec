"""``edge-occ record`` as users type it."""

import signal
import subprocess
import sys

import cv2
import numpy as np
from typer.testing import CliRunner

from edge_occ.cli import app
from edge_occ.common.images import find_images


def edge_occ(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def test_a_folder_is_recorded_and_can_be_trained_on(tiny_data, tmp_path):
    source = tiny_data / "train" / "good"
    told = edge_occ("record", "--source", source, "--out", tmp_path / "parts", "--frames", 9).stderr
    assert f"9 pictures in {tmp_path / 'parts'}; frames refused: none" in told
    assert f"next: edge-occ train --data {tmp_path / 'parts'}" in told
    copies = [cv2.imread(str(path)) for path in find_images(tmp_path / "parts")]
    for copy, path in zip(copies, find_images(source), strict=False):
        assert np.array_equal(copy, cv2.imread(str(path)))
    assert len(copies) == 9


def test_a_source_is_named_once_and_settings_are_those_of_run(tiny_data, tmp_path):
    assert "neither" in edge_occ("record", "--out", tmp_path, code=2).stderr
    assert "--out" in edge_occ("record", "--source", tiny_data, code=2).stderr
    dark = tmp_path / "dark"
    dark.mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 3, (24, 32, 3)).astype(np.uint8)
        assert cv2.imwrite(str(dark / f"{number}.png"), noise)
    assert "3 black" in edge_occ("record", "--source", dark, "--out", tmp_path / "a", code=2).stderr
    edge_occ("record", "--source", dark, "--out", tmp_path / "b", "--set", "guards.black=false")
    assert len(find_images(tmp_path / "b")) == 3


def test_ctrl_c_ends_a_recording_with_whole_pictures(tiny_data, tmp_path):
    out = tmp_path / "parts"
    command = [sys.executable, "-m", "edge_occ", "record", "--out", str(out), "--source"]
    address = f"{tiny_data / 'train' / 'good'}?loop=1&fps=50"
    process = subprocess.Popen([*command, address], stderr=subprocess.PIPE, text=True)
    while not (out.is_dir() and len(list(out.glob("*.png"))) >= 3):
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    pictures = sorted(out.iterdir())
    assert f"{len(pictures)} pictures in" in told
    assert all(path.suffix == ".png" and cv2.imread(str(path)) is not None for path in pictures)
