"""Engines on the command line: compile, precisions, and a build that the status topic announces."""

import json
import sys
from uuid import uuid4

import pytest
from fakes.install import installed
from fakes.tensorrt import FakeTensorRT
from mqtt_helpers import Ear
from typer.testing import CliRunner

from edge_occ.bundle.bundle import read_bundle
from edge_occ.cli import app


def edge_occ(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def jetson(monkeypatch, tmp_path):
    """TensorRT 10.16 and CUDA, both fakes that compute, and a cache of their own."""
    fake = FakeTensorRT("10.16.1.11")
    monkeypatch.setitem(sys.modules, "tensorrt", fake.module)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with installed(integrated=True):
        yield fake


def test_compile_where_there_is_nothing_to_build(tiny_bundle):
    done = edge_occ("compile", tiny_bundle, "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["engine"] == "cpu"
    assert content["score_error"] < 1e-4
    assert "not tensorrt" in done.stderr
    asked = edge_occ("compile", tiny_bundle, "--engine", "cpu")
    assert "it needs no building" in asked.stderr


def test_that_a_machine_has_no_gpu_is_reported_by_compile_alone(tiny_bundle, tiny_data, monkeypatch):
    monkeypatch.setattr("engines.select._is_notable", lambda _name, _failure: False)
    for command in ("verify", "bench", "score"):
        options = {"bench": ["--frames", 10], "score": [tiny_data / "test" / "spot"]}.get(command, [])
        done = edge_occ(command, tiny_bundle, *options)
        assert done.exit_code == 0, done.output
        assert "not tensorrt" not in done.stderr, command
    assert "not tensorrt" in edge_occ("compile", tiny_bundle).stderr


def test_compile_builds_once_and_run_finds_it(jetson, tiny_bundle, tiny_data, tmp_path):
    first = edge_occ("compile", tiny_bundle, "--engine", "tensorrt")
    assert first.exit_code == 0, first.output
    assert "building the TensorRT engine" in first.stderr
    assert f"kept in {tmp_path / 'cache' / 'edge-occ' / 'engines'}" in first.stderr
    (build,) = jetson.builds
    assert build["shapes"]["frame"] == [[2, 2, 3], [112, 112, 3], [191, 191, 3]]
    again = json.loads(edge_occ("compile", tiny_bundle, "--json").stdout)
    assert again["engine"] == "tensorrt"
    # As it is in use: a closed engine has no CUDA graph.
    assert again["detail"].endswith("CUDA graph")
    assert "CUDA graph" in first.stderr
    verified = json.loads(edge_occ("verify", tiny_bundle, "--json").stdout)
    assert verified["detail"] == again["detail"]
    run = edge_occ("run", "--bundle", tiny_bundle, "--source", tiny_data / "test" / "spot", "--no-mqtt", "--json")
    assert run.exit_code == 0, run.output
    assert len(run.stdout.splitlines()) == 4
    assert len(jetson.builds) == 1
    other = edge_occ("compile", tiny_bundle, "--set", "engine.max_frame=[480, 640]")
    assert other.exit_code == 0, other.output
    assert len(jetson.builds) == 1, "what is left of a larger frame is no larger"


def test_the_engine_computes_what_the_other_does(jetson, tiny_bundle, tiny_data):
    folder = tiny_data / "test" / "spot"
    lines = {}
    for engine in ("tensorrt", "cpu"):
        done = edge_occ("score", tiny_bundle, folder, "--engine", engine, "--precision", "fp32", "--json")
        assert done.exit_code == 0, done.output
        lines[engine] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["verdict"] for line in lines["cpu"]] == [line["verdict"] for line in lines["tensorrt"]]
    for one, other in zip(lines["cpu"], lines["tensorrt"], strict=True):
        assert one["score"] == pytest.approx(other["score"], rel=1e-5)


def test_the_status_topic_announces_a_build(jetson, broker, tiny_bundle, tiny_data):
    prefix = f"plant/{uuid4().hex[:8]}"
    options = ["--broker", broker.url, "--set", f"mqtt.prefix={prefix}", "--set", "mqtt.device=press"]
    with Ear(broker.port, f"{prefix}/#") as ear:
        done = edge_occ("run", "--bundle", tiny_bundle, "--source", tiny_data / "test" / "spot", *options)
        assert done.exit_code == 0, done.output
        ear.wait_for_state("offline")
        states = [json.loads(message.payload) for message in ear.of("status")]
    names = [state["state"] for state in states]
    assert names[0] == "online"
    assert names[-2:] == ["online", "offline"]
    built = [state["detail"] for state in states if state["state"] == "building"]
    assert built == [f"building the TensorRT engine, {p}" for p in _tried(tiny_bundle)]


def _tried(path):
    """The precision that auto tries first on TensorRT."""
    return ["fp16"] if "fp16" in read_bundle(path).precisions else ["fp32"]


def test_bench_times_both_memories_and_every_precision(jetson, tiny_bundle, right_precisions):
    done = edge_occ("bench", tiny_bundle, "--frames", "10", "--compare", "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["engine"]["name"] == "tensorrt"
    assert content["engine"]["detail"].endswith("CUDA graph")
    assert set(content["memory"]) == {"mapped", "copy"}
    others = set(read_bundle(tiny_bundle).precisions) - {content["engine"]["precision"]}
    assert set(content["precisions"]) == others
    for row in content["memory"].values():
        assert row["p50"] > 0
    for precision, row in content["precisions"].items():
        timed = set(row) == {"p50", "p95", "p99"}
        assert timed or (set(row) == {"failed"} and precision not in right_precisions)
    shown = edge_occ("bench", tiny_bundle, "--frames", "10").stderr
    assert "mapped" in shown
    assert "copy" in shown


def test_without_a_gpu_tensorrt_is_not_available(tiny_bundle):
    done = edge_occ("verify", tiny_bundle, "--engine", "tensorrt")
    assert done.exit_code == 4
    assert "no CUDA driver" in done.stderr
