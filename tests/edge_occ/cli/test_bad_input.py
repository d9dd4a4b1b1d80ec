"""Mistakes of users: three short lines, the right exit status, and nothing half-written."""

import json
import shutil
import socket

import cv2
import numpy as np
import pytest
from mqtt_helpers import tcp_server
from typer.testing import CliRunner

from edge_occ.cli import app

TINY = [
    *("--set", "input.size=96", "--set", "encoder.width=4", "--set", "encoder.dim=16", "--set", "head.dim=8"),
    *("--set", "optimiser.steps=1", "--set", "optimiser.batch=2", "--set", "calibration.folds=2", "--device", "cpu"),
    *("--set", "export.fp16=false", "--set", "export.int8=false"),
]


def edge_occ(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result, code, *words):
    """An error has three parts and an exit status, and no traceback."""
    assert result.exit_code == code, result.output
    lines = [line.split(maxsplit=1) for line in result.stderr.strip().splitlines()][-3:]
    assert [line[0] for line in lines] == ["expected", "found", "next"], result.stderr
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr, result.stderr


def write_images(folder, n, size=(96, 96), dtype=np.uint8, channels=3):
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    for i in range(n):
        shape = size if channels == 1 else (*size, channels)
        cv2.imwrite(str(folder / f"{i:03d}.png"), generator.integers(0, top, shape).astype(dtype))
    return folder


def train(data, tmp_path, *options):
    out = tmp_path / "out" / "part.occ"
    result = edge_occ("train", "--data", data, "--out", out, *TINY, *options)
    if result.exit_code:
        left = [path for path in out.parent.rglob("*") if path.is_file()] if out.parent.exists() else []
        assert not left, left
    return result


@pytest.mark.train
def test_a_wrong_folder(tmp_path):
    refused(train(tmp_path / "nowhere", tmp_path), 2, "no such folder", "--data")


@pytest.mark.train
def test_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(train(tmp_path / "empty", tmp_path), 2, "0 pictures")


@pytest.mark.train
def test_a_train_folder_without_good(tmp_path):
    write_images(tmp_path / "set" / "train" / "bad", 9)
    refused(train(tmp_path / "set", tmp_path), 2, "train/good", "bad")


@pytest.mark.train
def test_fewer_than_8_images(tmp_path):
    refused(train(write_images(tmp_path / "few", 7), tmp_path), 2, "at least 8", "7 in")


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """What a training says and prints of 99 images, five of them larger with alpha or grey, and of a broken one."""
    folder = tmp_path_factory.mktemp("odd")
    data = write_images(folder / "set", 94)
    for n, channels in ((3, 4), (2, 1)):
        for path in write_images(folder / f"other{channels}", n, (120, 100), channels=channels).iterdir():
            path.rename(data / f"other{channels}_{path.name}")
    (data / "broken.png").write_bytes(b"\x89PNG broken")
    result = train(data, folder, "--json")
    assert result.exit_code == 0, result.output
    return result.stderr, json.loads(result.stdout)


@pytest.mark.train
def test_one_unreadable_image_in_a_hundred_is_named_skipped_and_counted(odd):
    errors, manifest = odd
    assert "skipped" in errors
    assert "broken.png" in errors
    training = manifest["training"]
    assert training["images"] == 99
    assert len(training["skipped"]) == 1
    assert "broken.png" in training["skipped"][0]


@pytest.mark.train
def test_more_than_one_unreadable_image_in_a_hundred_is_refused(tmp_path):
    folder = write_images(tmp_path / "set", 97)
    for i in range(2):
        (folder / f"broken{i}.png").write_bytes(b"\x89PNG broken")
    refused(train(folder, tmp_path), 2, "at most 1%", "2 of 99", "broken0.png")


@pytest.mark.train
def test_images_of_different_sizes_are_learned_from_and_reported(odd):
    errors, manifest = odd
    assert "differ in size" in errors
    assert manifest["geometry"]["frame"] is None


def converted(errors, manifest, kind):
    assert f"converted to 8-bit colour: pictures that were {kind}" in errors
    assert manifest["training"]["conversions"] == kind.split(", ")


@pytest.mark.train
def test_alpha_is_left_out_and_grey_is_converted(odd):
    errors, manifest = odd
    converted(errors, manifest, "alpha, grey")


@pytest.mark.train
def test_16_bit_is_converted_and_reported(tmp_path):
    folder = write_images(tmp_path / "set", 8, dtype=np.uint16, channels=1)
    result = train(folder, tmp_path, "--json")
    assert result.exit_code == 0, result.output
    converted(result.stderr, json.loads(result.stdout), "16-bit, grey")


def test_12_bit_data_for_a_bundle_of_8_bit_pictures_are_refused_rather_than_turned_black(tiny_bundle, tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.random.default_rng(0).integers(0, 4096, (96, 96)).astype(np.uint16))
    refused(edge_occ("score", tiny_bundle, tmp_path), 2, "12-bit", "train with 16-bit pictures")


@pytest.mark.train
def test_one_image_saved_many_times_is_no_training_set(tmp_path):
    folder = write_images(tmp_path / "set", 1)
    for i in range(50):
        shutil.copy(folder / "000.png", folder / f"copy{i}.png")
    refused(train(folder, tmp_path), 2, "8 different good parts", "1 and 50 more shots or copies")


@pytest.mark.train
@pytest.mark.parametrize("name", ["ok", "Good"])
def test_good_parts_under_another_name_are_asked_for(tiny_bundle, tiny_data, tmp_path, name):
    shutil.copytree(tiny_data / "test", tmp_path / "test")
    (tmp_path / "test" / "good").rename(tmp_path / "test" / name)
    refused(edge_occ("evaluate", tiny_bundle, "--data", tmp_path), 2, f"test/{name}", "move its pictures", "test/good")


@pytest.mark.train
def test_a_report_that_is_not_ours_is_not_overwritten(tiny_bundle, tiny_data, tmp_path):
    (tmp_path / "index.html").write_text("mine")
    refused(
        edge_occ("evaluate", tiny_bundle, "--data", tiny_data, "--report", tmp_path), 2, "did not write", "--report"
    )
    assert (tmp_path / "index.html").read_text() == "mine"


@pytest.mark.train
def test_images_without_any_variation_are_reported(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(8):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((96, 96, 3), 90, np.uint8))
    refused(train(folder, tmp_path), 2, "8 different good parts", "1 and 7 more shots or copies of them")


@pytest.mark.train
def test_wrong_options(tmp_path):
    data = write_images(tmp_path / "set", 8)
    refused(train(data, tmp_path, "--preset", "slow"), 2, "quick")
    refused(train(data, tmp_path, "--set", "optimiser.stepz=1"), 2, "optimiser.steps")
    refused(train(data, tmp_path, "--config", tmp_path / "absent.yaml"), 2, "absent.yaml")
    refused(train(data, tmp_path, "--device", "tpu"), 2, "auto, cpu, cuda")
    refused(edge_occ("train", "--data", data, "--out", tmp_path / "x.zip"), 2, ".occ")
    assert edge_occ("train").exit_code == 2
    assert edge_occ("nonsense").exit_code == 2


@pytest.mark.train
@pytest.mark.parametrize(("setting", "words"), [("head.dim=400", "head.dim=400"), ("input.size=100", "multiple of 8")])
def test_settings_of_which_each_is_right_and_both_together_wrong(tmp_path, setting, words):
    data = write_images(tmp_path / "data", 9)
    lite = ("--set", "encoder.name=lite0", "--set", "encoder.blocks=[2,4]", "--set", "pretext.name=none")
    refused(train(data, tmp_path, *lite, "--set", setting), 2, words, "--set")


@pytest.mark.train
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.png", None, "no such file"),
        ("small.png", np.full((48, 96), 255, np.uint8), "96x48"),
        ("empty.png", np.zeros((96, 96), np.uint8), "something to inspect"),
        ("region.json", b'{"inspect": [[[1, 2], [3, 4]]]}', "inspect.0: Tuple should have at least 3 items"),
        ("broken.json", b"[", "polygons in"),
    ],
)
def test_a_region_that_is_none_is_found_before_the_training(tmp_path, monkeypatch, name, content, words):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        cv2.imwrite(str(path), content)
    monkeypatch.setattr("trainer.train.pretrain_encoders", None)
    data = write_images(tmp_path / "data", 10)
    refused(train(data, tmp_path, "--set", f"region.mode={path}"), 2, name, words)


@pytest.mark.train
def test_a_place_that_cannot_be_written_is_found_before_the_training(tmp_path):
    data = write_images(tmp_path / "set", 8)
    (tmp_path / "file").write_bytes(b"")
    refused(edge_occ("train", "--data", data, "--out", tmp_path / "file" / "x.occ", *TINY), 2, "--out")


@pytest.mark.train
def test_a_changed_setting_does_not_go_on_from_another_runs_checkpoint(tiny_data, tmp_path, monkeypatch):
    out = tmp_path / "part.occ"
    import trainer.train

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.train, "HeadCalibrator", interrupt)
        assert edge_occ("train", "--data", tiny_data, "--out", out, *TINY).exit_code == 130
    checkpoint = tmp_path / "part.train" / "checkpoint.safetensors"
    before = checkpoint.read_bytes()
    refused(edge_occ("train", "--data", tiny_data, "--out", out, *TINY, "--seed", "1"), 2, "--restart")
    assert checkpoint.read_bytes() == before
    assert not out.exists()
    done = edge_occ("train", "--data", tiny_data, "--out", out, *TINY, "--seed", "1", "--restart")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "part.features.safetensors",
        "part.html",
        "part.occ",
    ]


@pytest.mark.parametrize("command", ["inspect", "verify", "score", "run", "bench", "evaluate"])
def test_a_damaged_bundle_is_refused_by_every_command(command, tiny_bundle, tiny_data, tmp_path):
    path = tmp_path / "short.occ"
    path.write_bytes(tiny_bundle.read_bytes()[:-2000])
    extra = {
        "score": [tiny_data / "test" / "good"],
        "evaluate": ["--data", tiny_data],
        "run": ["--source", tiny_data / "test" / "good", "--no-mqtt"],
    }
    bundle = ["--bundle", path] if command == "run" else [path]
    refused(edge_occ(command, *bundle, *extra.get(command, [])), 3, "found")


def test_a_missing_bundle(tmp_path, monkeypatch):
    refused(edge_occ("verify", tmp_path / "none.occ"), 2, "no such file")
    monkeypatch.chdir(tmp_path)
    refused(edge_occ("run", "--camera", 0, "--no-mqtt"), 2, "--bundle")


def test_an_engine_that_is_not_there(tiny_bundle):
    refused(edge_occ("verify", tiny_bundle, "--engine", "tensorrt"), 4, "NVIDIA GPU")


def test_a_camera_that_does_not_exist(tiny_bundle):
    refused(edge_occ("run", "--source", "97?lost=0", "--bundle", tiny_bundle, "--no-mqtt"), 2, "/dev/video97")


def test_a_broker_that_does_not_accept_this_client(tiny_bundle, tiny_data):
    def answer(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(b"\x20\x03\x00\x87\x00")

    source = tiny_data / "test" / "good"
    with tcp_server(answer) as address:
        result = edge_occ("run", "--source", source, "--bundle", tiny_bundle, "--broker", f"mqtt://{address}")
    refused(result, 2, "broker", address, "not authorized")


def test_a_broker_that_is_not_there_does_not_stop_the_inspection(tiny_bundle, tiny_data, caplog):
    source, broker = tiny_data / "test" / "good", "mqtt://127.0.0.1:9"
    result = edge_occ("run", "--source", source, "--bundle", tiny_bundle, "--broker", broker)
    assert result.exit_code == 0, result.stderr
    assert caplog.text.count(f"no MQTT broker at {broker}") == 1


def test_contradicting_or_missing_sources_and_brokers(tiny_bundle):
    refused(edge_occ("run", "--bundle", tiny_bundle), 2, "neither")
    refused(edge_occ("run", "--bundle", tiny_bundle, "--camera", 0, "--source", "1"), 2, "both")
    refused(edge_occ("run", "--camera", 0, "--bundle", tiny_bundle, "--no-mqtt", "--broker", "x"), 2, "both")
    refused(edge_occ("run", "--bundle", tiny_bundle, "--no-mqtt", "--source", "http://x/y"), 2, "known kind of source")
    refused(edge_occ("run", "--bundle", tiny_bundle, "--no-mqtt", "--source", "/nowhere/"), 2, "/nowhere")


def test_labels_that_are_not_there(tiny_bundle, tiny_data, tmp_path):
    refused(edge_occ("evaluate", tiny_bundle, "--data", tmp_path), 2, "labelled images", "edge-occ score")
    (tmp_path / "set" / "test").mkdir(parents=True)
    refused(edge_occ("evaluate", tiny_bundle, "--data", tmp_path / "set"), 2)


def test_an_unreadable_picture_to_score(tiny_bundle, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    refused(edge_occ("score", tiny_bundle, tmp_path / "x.png"), 2, "x.png")


@pytest.mark.train
def test_a_full_disk_while_the_bundle_is_written_costs_no_training(tiny_data, tmp_path, monkeypatch):
    """Simulated where the operating system would report it; tests/edge_occ/test_bundle.py has the real thing."""
    out = tmp_path / "part.occ"
    from engines import files

    def full(descriptor):
        raise OSError(28, "No space left on device")

    from trainer import train as module

    original = module.save_bundle

    def write(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "fsync", full)
            return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_bundle", write)
        refused(edge_occ("train", "--data", tiny_data, "--out", out, *TINY), 2, "No space left", "make room")
    assert [path.name for path in tmp_path.iterdir()] == ["part.train"]
    monkeypatch.setattr("trainer.pretrain.update.Updates.__call__", lambda *arguments: pytest.fail("trained again"))
    assert edge_occ("train", "--data", tiny_data, "--out", out, *TINY).exit_code == 0
    shutil.rmtree(tmp_path)
