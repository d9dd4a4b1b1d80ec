"""The contract of every sink: it takes everything that an inspection can give it, and passes something on."""

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from uuid import uuid4

import numpy as np
import pytest
from mqtt_helpers import Ear, inspection, render

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.conformal import ConformalThreshold, calibrate
from edge_occ.common.clock import ManualClock
from edge_occ.inspection.drift import DriftConfig, DriftMonitor
from edge_occ.inspection.events import Phase
from edge_occ.inspection.likeness import Likeness
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.topics import Origin
from edge_occ.output.console import ConsoleSink
from edge_occ.output.evidence.config import EvidenceConfig
from edge_occ.output.evidence.store import EvidenceStore
from edge_occ.output.jsonl import JsonLinesSink
from edge_occ.output.latest import LatestFrame
from edge_occ.output.outlets import Outlets
from edge_occ.output.sink import MemorySink, Sink
from edge_occ.runtime.heartbeat import Heartbeat
from edge_occ.runtime.recalibrating import FrameSampler
from edge_occ.sources.faults import Fault, Reason, Unscored

NAMES = [None, "a.png", "Grün 漢字.png", "caf\udce9\x1b.png", ""]
"""Of the frames that :func:`give` gives."""


@contextmanager
def memory(request):
    sink = MemorySink()
    yield sink, lambda: [i.frame.index for i in sink.inspections]


@contextmanager
def console(request):
    capture = request.getfixturevalue("capsys")

    def received():
        begun = [line.split() for line in capture.readouterr().err.splitlines() if line.startswith("start")]
        return [NAMES.index(words[1]) for words in begun]

    yield ConsoleSink(), received


@contextmanager
def json_lines(request):
    capture = request.getfixturevalue("capsysbinary")

    def received():
        lines = [json.loads(line) for line in capture.readouterr().out.splitlines()]
        return [line["frame"] for line in lines if "score" in line]

    yield JsonLinesSink(), received


@contextmanager
def heartbeat(request):
    clock, beats = ManualClock(), []
    sink = Heartbeat([lambda: beats.append(len(beats))], clock=clock)
    yield sink, lambda: beats


@contextmanager
def likeness(request):
    """A bundle trained on larger frames, so that it has something to say."""
    warnings = []
    manifest = read_bundle(request.getfixturevalue("tiny_bundle")).manifest
    assert manifest.geometry.frame == (112, 112)
    yield Likeness(manifest, warnings.append), lambda: [0] * len(warnings)


@contextmanager
def drift(request):
    """Its figures are shares: after five frames, those of three are anomalous."""
    held_out = np.linspace(0, 0.9, 100)
    calibration = calibrate(held_out, 0.02)
    threshold = ConformalThreshold(held_out.tolist(), calibration.threshold)
    monitor = DriftMonitor(threshold, calibration, DriftConfig(), lambda _: None)
    yield monitor, lambda: [1, 2, 4] if monitor.state.anomalous_share == 3 / 5 else []


@contextmanager
def latest(request):
    sink = LatestFrame()
    yield sink, lambda: [] if sink.inspection is None else [sink.inspection.frame.index]


@contextmanager
def sampler(request):
    """The first frame waits to be taken, and the others pass by."""
    sink = FrameSampler()

    def received():
        image = sink.take(0.0)
        return [] if image is None else [int(image[0, 0, 0])]

    yield sink, received


@contextmanager
def publisher(request):
    broker = request.getfixturevalue("broker")
    config = MqttConfig(broker=broker.url, prefix="plant/sinks", device=f"d{uuid4().hex[:8]}")
    with Ear(broker.port, f"{config.prefix}/{config.device}/#") as ear, Publisher(config, render) as sink:

        def received():
            sink.close()
            ear.wait_for_state("offline")
            return [json.loads(bytes(message.payload))["frame"] for message in ear.of("score")]

        yield sink, received


@contextmanager
def evidence(request):
    folder = request.getfixturevalue("tmp_path")
    with EvidenceStore(folder, EvidenceConfig(), Origin(), render) as sink:

        def received():
            sink.close()
            assert sink.lost == 0
            return [json.loads(path.read_bytes())["frame"] for path in sorted(folder.rglob("start-*/record.json"))]

        yield sink, received


SINKS = {
    "memory": (memory, [0, 1, 2, 3, 4]),
    "console": (console, [1]),
    "json lines": (json_lines, [0, 1, 2, 3, 4]),
    "heartbeat": (heartbeat, [0]),
    "likeness": (likeness, [0]),
    "drift": (drift, [1, 2, 4]),
    "latest": (latest, [4]),
    "sampler": (sampler, [0]),
    "evidence": (evidence, [1]),
    "publisher": (publisher, [0, 1, 2, 3, 4]),
}


@pytest.fixture(params=list(SINKS.values()), ids=list(SINKS))
def case(request):
    """The sink, the frames that arrive of those of :func:`give`, and a function that returns those that arrived."""
    make, expected = request.param
    with make(request) as (sink, received):
        yield sink, expected, received


def give(sink: Sink | Outlets):
    """Five frames of 32 by 32 pixels, the second of which begins an event, and every kind of fault."""
    phases = [None, Phase.START, Phase.UPDATE, None, Phase.UPDATE]
    shown = [
        inspection(i, 1.5 if phase else 0.5, event=phase, name=name, of="event")
        for i, (phase, name) in enumerate(zip(phases, NAMES, strict=True))
    ]
    for each in shown:
        each.frame.image.flags.writeable = False
        each.scores.map.flags.writeable = False
        sink.publish(each)
    for index, reason in enumerate(Reason):
        sink.fault(
            Fault(10 + index, datetime.now(timezone.utc), Unscored(reason, "in\nwords"), NAMES[index % len(NAMES)])
        )
    return shown


def test_it_has_a_name_for_people(case):
    sink, _, _ = case
    assert sink.name.strip() == sink.name != ""


def test_frames_arrive_in_order_and_faults_are_no_frames(case):
    sink, expected, received = case
    give(sink)
    assert received() == expected


def test_the_end_of_an_event_is_no_further_frame(case):
    sink, expected, received = case
    last = give(sink)[-1]
    sink.finish(replace(last, event=replace(last.event, phase=Phase.END)))
    assert received() == expected


def test_a_sink_may_be_given_nothing_but_a_fault(case):
    sink, _, received = case
    sink.fault(Fault(0, datetime.now(timezone.utc), Unscored(Reason.FRAME, "no pixels"), None))
    assert received() == []


def test_neither_frame_nor_map_is_changed(case):
    sink, _, received = case
    shown = give(sink)
    received()
    for index, each in enumerate(shown):
        assert (each.frame.image == np.full((32, 32, 3), index, np.uint8)).all()
        assert not each.scores.map.any()


def test_several_sinks_are_each_given_everything(case):
    sink, expected, received = case
    other = MemorySink()
    outlets = Outlets([sink])
    outlets.add(other)
    give(outlets)
    assert (received(), dict(outlets.lost)) == (expected, {})
    assert [i.frame.index for i in other.inspections] == [0, 1, 2, 3, 4]
    assert [fault.reason for fault in other.faults] == list(Reason)


def test_latency_on_standard_output_ends_when_the_line_is_printed(capsysbinary):
    clock = ManualClock()
    clock.advance(12.5)
    shown = inspection(0, captured=12.0)
    JsonLinesSink(clock=clock).publish(replace(shown, verdict_ms=400.0))
    line = json.loads(capsysbinary.readouterr().out)
    assert (line["latency_ms"], line["verdict_ms"]) == (500.0, 400.0)
