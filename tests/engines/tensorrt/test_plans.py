"""The plan of an engine, from the cache or built anew; on a fake GPU."""

import json
import logging
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from fakes.jetson import assert_same, frame_of, machine

from engines.base import Graph
from engines.cuda import jetson
from engines.errors import EngineUnavailable
from engines.tensorrt.engine import open_tensorrt
from engines.tensorrt.plans import read_layers


def test_the_second_start_builds_nothing(graph, options, monkeypatch):
    reported: list[tuple[str, float]] = []
    seconds = iter((100.0, 221.04))
    monkeypatch.setattr("engines.tensorrt.plans.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    with machine() as (fake, _):
        open_tensorrt(graph, options, progress=lambda what, done: reported.append((what, done))).close()
        assert reported[0] == ("building the TensorRT engine, fp32", 0.0)
        assert reported[-1][1] == 1.0
        reported.clear()
        head = {**graph.head, "mean": graph.head["mean"] * 2}
        for again in (graph, Graph(graph.onnx, "fp32", head)):  # heads are inputs, so they share the engine
            open_tensorrt(again, options, progress=lambda what, done: reported.append((what, done))).close()
        assert (len(fake.builds), reported) == (1, [])
    (description,) = (json.loads(path.read_text()) for path in options.cache.glob("*.json"))
    assert description["platform"]["tensorrt"] == "10.3.0"
    assert description["facts"]["build_seconds"] == 121.0
    created = datetime.fromisoformat(description["facts"]["created"])
    assert abs(datetime.now(timezone.utc) - created) < timedelta(hours=1)
    (layers,) = (json.loads(path.read_text()) for path in options.cache.glob("*.layers"))
    assert set(layers) == {"layers", "tensors"}
    assert "frame" in layers["tensors"]


def test_the_workspace_is_half_of_what_is_free(graph, options):
    with machine(memory=1 << 30) as (fake, _):
        engine = open_tensorrt(graph, replace(options, memory="mapped"))
        in_use = (1 << 30) - 2 * fake.builds[0]["workspace"]
        assert 0 <= in_use < 1 << 20
        engine.close()


def test_what_another_process_built_meanwhile_is_taken(graph, options, tmp_path, monkeypatch):
    reported = []
    with machine() as (fake, _):
        open_tensorrt(graph, options).close()
        options.cache.rename(tmp_path / "theirs")

        @contextmanager
        def lock(cache, waiting):
            waiting()
            cache.folder.rmdir()
            (tmp_path / "theirs").rename(cache.folder)
            yield

        monkeypatch.setattr("engines.tensorrt.plan_cache.PlanCache.lock", lock)
        open_tensorrt(graph, options, progress=lambda what, done: reported.append(what)).close()
        assert len(fake.builds) == 1
    assert reported == ["waiting for another process that builds an engine"]


def test_other_settings_are_other_engines(graph, options):
    with machine() as (fake, _):
        for each in (options, replace(options, max_frame=(120, 120)), replace(options, frame=(64, 64)), options):
            open_tensorrt(graph, each).close()
        assert len(fake.builds) == 3
        assert fake.builds[1]["timings"] == "timed ", "the timing cache of the first build"
        # Nor does it matter how frames reach the GPU.
        open_tensorrt(graph, replace(options, memory="mapped", spin=True)).close()
        assert len(fake.builds) == 3


@pytest.mark.parametrize("damage", ["flip", "cut", "garbage"])
def test_a_damaged_plan_is_put_away_and_built_anew(graph, options, reference, damage, caplog):
    with machine() as (fake, _):
        open_tensorrt(graph, options).close()
        (plan,) = options.cache.glob("*.plan")
        good = plan.read_bytes()
        plan.write_bytes({"flip": good[:-1] + bytes([good[-1] ^ 1]), "cut": good[:-9], "garbage": b"rm -rf"}[damage])
        with caplog.at_level(logging.WARNING, "engines.tensorrt.engine"):
            engine = open_tensorrt(graph, options)
        assert "its bytes are not those that were built" in caplog.text
        assert "quarantine" in caplog.text
        assert len(fake.builds) == 2
        assert_same(engine, reference, frame_of(96, 96))
        engine.close()
    assert len(list((options.cache / "quarantine").glob("*.plan"))) == 1


def test_another_tensorrt_builds_anew(graph, options, caplog):
    with machine("10.3.0"):
        open_tensorrt(graph, options).close()
    with machine("10.16.1.11") as (fake, _), caplog.at_level(logging.WARNING, "engines.tensorrt.engine"):
        open_tensorrt(graph, options).close()
        assert fake.builds[0]["timings"] == "", "timings belong to a version"
        open_tensorrt(graph, options).close()
        assert len(fake.builds) == 1
    assert "built with tensorrt 10.3.0, and here is 10.16.1.11" in caplog.text


def test_a_new_power_mode_builds_anew(graph, options, tmp_path, monkeypatch, caplog):
    mode = tmp_path / "status"
    monkeypatch.setattr(jetson, "POWER_MODE", mode)
    with machine() as (fake, _):
        mode.write_text("pmode:0000\n")
        open_tensorrt(graph, options).close()
        mode.write_text("pmode:0002 fmode:quiet\n")
        open_tensorrt(graph, options).close()
        assert len(fake.builds) == 2
    assert "power mode 0, and here is 2" in caplog.text


def test_a_plan_that_tensorrt_cannot_load_is_built_anew(graph, options, reference, caplog):
    """Its hash is right, but TensorRT gives a null engine: say, its library was replaced in place."""
    with machine() as (fake, _):
        open_tensorrt(graph, options).close()
        calls = []

        def once(runtime, plan, real=fake.module.Runtime.deserialize_cuda_engine):
            calls.append(plan)
            fake.null_engine = "Error Code 1: Serialization (stale)" if len(calls) < 3 else ""
            return real(runtime, plan)

        fake.module.Runtime.deserialize_cuda_engine = once
        engine = open_tensorrt(graph, options)
        assert len(fake.builds) == 2
        assert_same(engine, reference, frame_of(96, 96))
        engine.close()
    assert "Serialization (stale)" in caplog.text


def test_an_unwritable_cache_is_reported_before_the_build(graph, options, tmp_path):
    (tmp_path / "file").write_text("")
    with machine() as (fake, _):
        with pytest.raises(EngineUnavailable, match=r"engine\.cache"):
            open_tensorrt(graph, replace(options, cache=tmp_path / "file" / "engines"))
        assert not fake.builds


def test_a_cache_that_may_only_be_read_serves(graph, options, monkeypatch):
    with machine() as (fake, _):
        open_tensorrt(graph, options).close()

        def refuse(*arguments, **keywords):
            raise PermissionError(13, "Read-only file system")

        for name in ("engines.tensorrt.plan_cache.NamedTemporaryFile", "os.utime", "os.open"):
            monkeypatch.setattr(name, refuse)
        open_tensorrt(graph, options).close()
        assert len(fake.builds) == 1


def test_an_engine_that_cannot_be_kept_runs_all_the_same(graph, options, reference, monkeypatch, caplog):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engines.tensorrt.plan_cache.atomic_write", full)
    with machine():
        engine = open_tensorrt(graph, options)
        assert_same(engine, reference, frame_of(96, 96))
        engine.close()
    assert "No space left" in caplog.text


def test_the_inspectors_json_of_all_versions_is_read():
    assert read_layers('{"Layers": ["a"], "Bindings": ["b"]}') == {"layers": ["a"], "tensors": ["b"]}
    assert read_layers('{"Layers": ["a"], "I/O Tensors": ["b"]}') == {"layers": ["a"], "tensors": ["b"]}


def test_the_release_and_power_mode_of_a_jetson(tmp_path):
    file = tmp_path / "file"
    assert jetson.l4t_release(file) is None
    assert jetson.power_mode(file) is None
    file.write_bytes(b"\xff\0 something else")
    assert jetson.l4t_release(file) is None
    file.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64")
    assert jetson.l4t_release(file) == "36.4.3"
    file.write_text("pmode:0012")
    assert jetson.power_mode(file) == "12"
