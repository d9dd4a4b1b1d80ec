"""Thresholds from the images of another session, in whole trainings."""

import json
import shutil

import numpy as np
import pytest
from discs import part, write
from typer.testing import CliRunner

from edge_occ.bundle.bundle import read_bundle
from edge_occ.cli import app

SETTINGS = (
    *("input.size=96", "encoder.width=4", "encoder.dim=16", "optimiser.steps=3", "optimiser.batch=2", "head.dim=8"),
    *("export.fp16=false", "export.int8=false"),
)


def train(data, out, *more, code=0):
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    command = ["train", "--data", data, "--out", out, *settings, *more]
    result = CliRunner().invoke(app, [str(word) for word in command])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def session(folder, parts, gain=1.0):
    for i in range(parts):
        write(folder / f"{i:03}.png", (part(7000 + i) * gain).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def trained(tiny_data, tmp_path_factory):
    """Folder with a bundle that was calibrated on darker parts and its report, and what the training printed."""
    folder = tmp_path_factory.mktemp("session")
    dark = session(folder / "dark", 30, 0.8)
    shutil.copy(dark / "000.png", dark / "copy.png")
    printed = train(tiny_data, folder / "dark.occ", "--calibration", dark, "--json").stdout
    return folder, json.loads(printed.splitlines()[-1])


def test_the_threshold_is_from_the_other_session(trained, plain):
    folder, printed = trained
    dark, usual = read_bundle(folder / "dark.occ"), read_bundle(plain)
    record = dark.manifest.recalibrated
    assert (record.frames, record.held_out, record.threshold_only) == (30, 5, True)  # the copy counts once
    assert dark.manifest.calibration.n == 25 == printed["calibration"]["n"]
    assert dark.manifest.calibration.threshold > usual.manifest.calibration.threshold
    for member in ("graph.fp32.onnx", "golden.safetensors"):
        assert dark.manifest.members[member].sha256 == usual.manifest.members[member].sha256
    scored = CliRunner().invoke(app, ["score", str(folder / "dark.occ"), str(folder / "dark"), "--json"])
    scores = [json.loads(line)["score"] for line in scored.stdout.splitlines()][:25]
    np.testing.assert_allclose(dark.held_out, scores, rtol=1e-5)


def test_the_guards_know_both_sessions(trained, plain):
    folder, _ = trained
    dark, usual = (read_bundle(path).manifest.training.exposure for path in (folder / "dark.occ", plain))
    assert dark.mean[1] == usual.mean[1]
    assert dark.mean[0] < usual.mean[0]
    assert dark.levels[2][0] < usual.levels[2][0]


def test_report_and_model_card_say_so(trained):
    folder, _ = trained
    assert "25 good parts of another session were scored" in (folder / "dark.html").read_text()
    assert "The threshold is from 30 new frames" in read_bundle(folder / "dark.occ").model_card


def test_a_refit_is_refused_with_what_to_do(trained, tmp_path):
    folder, _ = trained
    judged = tmp_path / "review.json"
    judged.write_text("{}")
    command = ["refit", str(folder / "dark.occ"), "--exclude", str(judged), "--out", str(tmp_path / "new.occ")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    assert "a threshold from the training images" in result.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data, folder: data / "train" / "good", "16 that are in both folders"),
        (lambda data, folder: session(folder, 9), "at least 13 frames"),
        (lambda data, folder: folder / "nothing", "a folder of normal images"),
    ],
)
def test_what_is_wrong_with_the_session_is_found_before_the_training(tiny_data, tmp_path, change, words):
    errors = train(tiny_data, tmp_path / "x.occ", "--calibration", change(tiny_data, tmp_path / "other"), code=2).stderr
    assert words in " ".join(errors.split())
    assert "step" not in errors
    assert not list(tmp_path.glob("x.*"))


def test_a_session_of_another_size_is_refused(tiny_data, tmp_path):
    for i in range(14):
        write(tmp_path / "other" / f"{i}.png", part(7000 + i)[:100])
    errors = train(tiny_data, tmp_path / "x.occ", "--calibration", tmp_path / "other", code=2).stderr
    assert "calibration images of 112x112 pixels" in errors
    assert "112x100" in errors
