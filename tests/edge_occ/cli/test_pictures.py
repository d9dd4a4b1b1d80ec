"""Pictures that are unlike those of the training, or that no decoder should see, as the commands take them."""

import json
import re

import cv2
import numpy as np
import pytest
from picture_files import png_file
from typer.testing import CliRunner

from edge_occ.bundle.bundle import read_bundle, write_bundle
from edge_occ.cli import app

TINY = [
    *("--set", "input.size=96", "--set", "encoder.width=4", "--set", "encoder.dim=16", "--set", "head.dim=8"),
    *("--set", "optimiser.steps=1", "--set", "optimiser.batch=2", "--set", "calibration.folds=2", "--device", "cpu"),
    *("--set", "export.fp16=false", "--set", "export.int8=false"),
]


def edge_occ(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def write(folder, images, suffix=".png"):
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        done, data = cv2.imencode(".jpg" if suffix == ".jfif" else suffix, image)
        assert done
        (folder / f"{number:03}{suffix}").write_bytes(bytes(data))
    return folder


def parts(count, size=(112, 112), dtype=np.uint8, top=255, channels=3):
    generator = np.random.default_rng(0)
    shape = size if channels == 1 else (*size, channels)
    return [(generator.uniform(0.4, 0.6, shape) * top).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize(
    ("frames", "words", "setting"),
    [
        (parts(2, size=(96, 200)), "frames of 200x96 pixels, but the training images had 112x112", "guards.grey=true"),
        (parts(2, channels=1), "the training images had colours, these frames have none", "guards.grey=false"),
    ],
)
def test_run_and_score_warn_once_of_frames_unlike_the_training(tiny_bundle, tmp_path, frames, words, setting):
    opened = read_bundle(tiny_bundle)
    manifest = opened.manifest.model_dump(exclude={"members"})
    manifest["training"]["colour"] = True  # a bundle given by EDGE_OCC_TEST_BUNDLE may be older than this
    bundle = tmp_path / "discs.occ"
    write_bundle(bundle, manifest, opened.members)
    folder = write(tmp_path / "line", frames)
    running = ["run", "--bundle", bundle, "--source", folder, "--no-mqtt", "--set", setting]
    for command in (["score", bundle, folder], running):
        assert edge_occ(*command).stderr.count(words) == 1


@pytest.mark.train
def test_when_the_lamp_fails_16_bit_frames_are_faults_of_the_camera_not_skipped(tmp_path, caplog):
    """By themselves they look like 12-bit data, and were skipped.  Their mean is 2 of 255, a 60th of the training's."""
    data = write(tmp_path / "good", parts(10, dtype=np.uint16, top=65535))
    bundle = tmp_path / "part.occ"
    errors = edge_occ("train", "--data", data, "--out", bundle, *TINY).stderr
    assert "16-bit values from 65535 on are white" in errors
    dark = [image // 60 for image in parts(3, dtype=np.uint16, top=65535)]
    line = write(tmp_path / "line", [*parts(2, dtype=np.uint16, top=65535), *dark])
    scored = [json.loads(text) for text in edge_occ("score", bundle, line, "--json").stdout.splitlines()]
    assert [one["verdict"] for one in scored[2:]] == ["anomalous"] * 3
    assert max(one["score"] for one in scored[:2]) < min(one["score"] for one in scored[2:])
    ran = edge_occ("run", "--bundle", bundle, "--source", line, "--no-mqtt", "--json")
    lines = [json.loads(text) for text in ran.stdout.splitlines()]
    assert [line["score"] for line in lines[:2]] == [one["score"] for one in scored[:2]]
    assert [(line["frame"], line["verdict"], line["reason"]) for line in lines[2:]] == [
        (frame, "fault", "black") for frame in (2, 3, 4)
    ]
    assert "2 frames" in ran.stderr
    assert "not inspected: 3 black" in ran.stderr
    unguarded = edge_occ(
        *("run", "--bundle", bundle, "--source", line, "--no-mqtt", "--json"),
        *("--set", "guards.black=false", "--set", "guards.exposure=false"),
    )
    assert [json.loads(text)["score"] for text in unguarded.stdout.splitlines()] == [one["score"] for one in scored]


@pytest.mark.train
def test_twelve_bit_pictures_are_trained_on_and_their_scale_goes_with_the_bundle(tmp_path, monkeypatch):
    """Named by a pattern, which names the bundle by the folder before it."""
    monkeypatch.chdir(tmp_path)
    deep = parts(10, dtype=np.uint16, top=4095)
    for day in range(2):
        write(tmp_path / "parts" / f"day{day}", deep[day::2])
    edge_occ("train", "--data", "parts/**", *TINY)
    training = read_bundle(tmp_path / "parts.occ").manifest.training
    assert (training.white, training.images) == (4095, 10)
    # The same pictures rounded to 8 bits beforehand have the same scores.
    eight = write(tmp_path / "eight", [np.rint(image / 4095 * 255).astype(np.uint8) for image in deep])
    sixteen = write(tmp_path / "sixteen", deep)
    scores = [
        [json.loads(line)["score"] for line in edge_occ("score", "parts.occ", folder, "--json").stdout.splitlines()]
        for folder in (sixteen, eight)
    ]
    assert scores[0] == scores[1]


@pytest.mark.train
def test_training_tells_of_what_it_leaves_out_and_reads_less_usual_names(tmp_path, caplog):
    data = write(tmp_path / "parts", parts(8), ".jfif")
    write(data / "day2", parts(4))
    (data / "notes.txt").write_text("of no use")
    edge_occ("train", "--data", data, "--out", tmp_path / "a.occ", *TINY)
    assert "4 pictures in 1 sub-folder" in caplog.text
    assert "1 file of" in caplog.text
    assert read_bundle(tmp_path / "a.occ").manifest.training.images == 8


def test_a_picture_that_claims_too_many_pixels_ends_no_command(tiny_bundle, tiny_data, tmp_path):
    folder = write(tmp_path / "line", [cv2.imread(str(tiny_data / "test" / "good" / "000.png"))])
    (folder / "999.png").write_bytes(png_file(2, 8, 30_000, 30_000, b"\0" * 1000))
    ran = edge_occ("run", "--bundle", tiny_bundle, "--source", folder, "--no-mqtt")
    assert re.search(r"\b1 frames?, ", ran.stderr)
    scored = edge_occ("score", tiny_bundle, folder, code=2)
    assert "at most 200 million pixels" in scored.stderr


@pytest.mark.train
def test_a_training_picture_that_claims_too_many_pixels_is_reported(tmp_path):
    data = write(tmp_path / "parts", parts(8))
    (data / "999.png").write_bytes(png_file(2, 8, 30_000, 30_000, b"\0" * 1000))
    errors = edge_occ("train", "--data", data, "--out", tmp_path / "a.occ", *TINY, code=2).stderr
    assert "999.png with 30000x30000" in errors
