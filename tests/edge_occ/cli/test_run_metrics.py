"""Figures of a run: for Prometheus, as lines, and in the statistics; and what their settings refuse."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from uuid import uuid4

import pytest
from mqtt_helpers import Ear, free_port
from typer.testing import CliRunner

from edge_occ.cli import app, extras

parser = pytest.importorskip("prometheus_client.parser", reason="the extra [metrics] is absent here")


def invoke(*arguments):
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


def wait_until(condition, process):
    """For a process that has to start on a machine with other work."""
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)


def logged(file, camera):
    """The figures of a camera that were printed once it had frames."""
    return re.findall(rf"^{camera}: frames=[1-9]\d* .* engine_p50_ms=[\d.e+]+ ", file.read_text(), re.MULTILINE)


def scraped(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    return {
        (sample.name, sample.labels.get("camera"), sample.labels.get("stage")): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def test_prometheus_the_line_and_the_statistics_have_the_figures_of_every_camera(
    broker, tiny_bundle, tiny_data, tmp_path
):
    device, port = f"d{uuid4().hex[:8]}", free_port()
    settings = (f"metrics.port={port}", "metrics.log_seconds=1", f"mqtt.device={device}", "mqtt.stats_seconds=1")
    command = [sys.executable, "-m", "edge_occ", "run", "--bundle", str(tiny_bundle), "--broker", broker.url]
    for camera, kind in (("left", "good"), ("right", "spot")):
        command += ["--source", f"{camera}={tiny_data / 'test' / kind}?loop=1&fps=20&live=1"]
    command += [part for setting in settings for part in ("--set", setting)]
    with (
        Ear(broker.port, f"edge-occ/{device}/#") as ear,
        (tmp_path / "lines").open("w") as lines,
        subprocess.Popen(command, stderr=lines) as process,
    ):
        try:
            sent = "edge_occ_latency_seconds_count"
            wait_until(
                lambda: min(scraped(port).get((sent, camera, None), 0) for camera in ("left", "right")) > 5, process
            )
            found = scraped(port)
            wait_until(lambda: all(logged(tmp_path / "lines", camera) for camera in ("left", "right")), process)
            wait_until(lambda: any(json.loads(bytes(m.payload))["engine_p95_ms"] for m in ear.of("stats")), process)
        finally:
            process.terminate()
            process.wait(60)
    assert f"metrics at http://127.0.0.1:{port}/metrics" in (tmp_path / "lines").read_text()
    for camera in ("left", "right"):
        frames = found["edge_occ_frames_total", camera, None]
        assert frames > 5
        for stage in ("capture", "wait", "preprocess", "engine", "decide"):
            assert found["edge_occ_stage_seconds_count", camera, stage] >= frames
        stages = sum(found["edge_occ_stage_seconds_sum", camera, s] for s in ("wait", "preprocess", "engine", "decide"))
        assert found["edge_occ_latency_seconds_sum", camera, None] > 0 < stages
    assert found["edge_occ_events_total", "right", None] >= 1
    last = json.loads(bytes(ear.of("stats")[-1].payload))
    assert last["latency_p50_ms"] <= last["latency_p95_ms"] <= last["latency_p99_ms"]
    assert type(last["temperature_max_c"]) is float
    assert last["throttled"] in (0, 1)


def test_without_the_extra_it_says_what_to_install(monkeypatch, tiny_bundle, tiny_data):
    find = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "prometheus_client" else find(name))
    result = invoke("--source", tiny_data / "test" / "spot", "--bundle", tiny_bundle, "--set", "metrics.port=0")
    assert result.exit_code == 2
    expected, found, advice = result.stderr.splitlines()
    assert "[metrics]" in expected
    assert "prometheus_client" in found
    assert "pip install 'edge-occ[metrics]'" in advice


def test_a_port_that_is_taken_ends_the_run_at_its_start(tiny_bundle, tiny_data):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        source = tiny_data / "test" / "spot"
        result = invoke(
            "--source", source, "--bundle", tiny_bundle, "--no-mqtt", "--json", "--set", f"metrics.port={port}"
        )
    assert (result.exit_code, result.stdout) == (2, "")
    expected, found, advice = result.stderr.splitlines()[-3:]
    assert f"metrics.port {port}" in expected
    assert "in use" in found
    assert "--set metrics.port=" in advice


def test_without_a_port_the_extra_is_not_imported(tiny_bundle, tiny_data):
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom edge_occ.cli import app\n"
        "result = CliRunner().invoke(app, ['run', '--source', sys.argv[1], '--bundle', sys.argv[2], '--no-mqtt'])\n"
        "sys.exit(result.output if result.exit_code else 'prometheus_client' in sys.modules)"
    )
    source = str(tiny_data / "test" / "spot")
    done = subprocess.run([sys.executable, "-c", code, source, str(tiny_bundle)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
