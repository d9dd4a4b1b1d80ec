"""Every command on a running station, through a real broker."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from uuid import uuid4

import cv2
import numpy as np
import pytest
from discs import part, spoil, write
from mqtt_helpers import PATIENCE, Ear, payloads, wait_until

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.operating_points import DecisionConfig, decide
from edge_occ.bundle.versions import replace_bundle
from edge_occ.inspection.trigger import CommandTrigger
from edge_occ.mqtt.jpeg import read_comment
from edge_occ.mqtt.payloads import SnapshotInfo
from edge_occ.runtime import camera, recalibrating
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.station import Station

COMMANDS = ("snapshot", "trigger", "rearm", "threshold", "reload", "rollback", "mute", "recalibrate")


class Line:
    """A run whose pictures are put into a folder one by one, and an operator."""

    def __init__(self, ear, config, folder):
        self.ear, self.config, self._folder, self._pictures = ear, config, folder, 0

    def show(self, image):
        """Let the camera see a picture; return the message of its score."""
        self.show_unscored(image)
        return payloads(self.ear.wait_for_kind("score", self._pictures))[-1]

    def show_unscored(self, image):
        name = f"{self._pictures:03}.png"
        write(self._folder / "hidden" / name, image)
        (self._folder / "hidden" / name).rename(self._folder / name)
        self._pictures += 1

    def command(self, command, topics=None, **arguments):
        """Send a request; return its answer."""
        id_ = uuid4().hex
        content = {"id": id_, "command": command, **arguments}
        self.ear.send((topics or self.config.mqtt.topics).command, json.dumps(content).encode())
        self.ear.wait_for(lambda _: any(ack["id"] == id_ for ack in payloads(self.ear.of("ack"))), "an answer")
        answer = next(ack for ack in payloads(self.ear.of("ack")) if ack["id"] == id_)
        assert answer["command"] == command
        return answer["status"], answer["reason"]

    def show_until_answered(self, command, images):
        """Show pictures, of which a busy disk does not take every one, until the second answer to a request."""
        for image in images:
            self.show(image)
            if self._ended(command):
                break
        return self._ended(command)[-1]

    def answer(self, command):
        """Wait for the second answer to a request; return it."""
        self.ear.wait_for(lambda _: self._ended(command), "a second answer")
        return self._ended(command)[-1]

    def _ended(self, command):
        acks = payloads(self.ear.of("ack"))
        accepted = {ack["id"] for ack in acks if (ack["command"], ack["status"]) == (command, "accepted")}
        return [(ack["status"], ack["reason"]) for ack in acks if ack["id"] in accepted and ack["status"] != "accepted"]

    def events(self, count):
        return payloads(self.ear.wait_for_kind("event", count))[:count]


@pytest.fixture
def running(broker, tiny_bundle, tmp_path, monkeypatch):
    """Starts a run of these settings on a copy of the bundle; gives its line."""
    sources = []

    def remember(*arguments, **options):
        sources.append(opened(*arguments, **options))
        return sources[-1]

    opened = camera.open_source
    monkeypatch.setattr(camera, "open_source", remember)

    @contextmanager
    def run(sha256=None, **settings):
        bundle = tmp_path / "part.occ"
        shutil.copy(tiny_bundle, bundle)
        mqtt = {"broker": broker.url, "device": f"d{uuid4().hex[:8]}", "commands": COMMANDS, **settings.pop("mqtt", {})}
        config = RunConfig.model_validate({"engine": {"name": "cpu"}, "mqtt": mqtt, **settings})
        folder = tmp_path / "pictures"
        folder.mkdir()
        station = Station(config, bundle, {"": f"{folder}/?watch=1&settle=0.05"}, sha256=sha256)
        thread = threading.Thread(target=station.run, args=(lambda line: None,))
        with Ear(broker.port, f"{config.mqtt.prefix}/{config.mqtt.device}/#") as ear:
            thread.start()
            try:
                ear.wait_for_state("online")
                yield Line(ear, config, folder)
            finally:
                for source in sources:
                    source.close()
                thread.join(PATIENCE)
            assert not thread.is_alive()

    return run


def spot(seed):
    image = part(seed)
    spoil(image, "spot", seed, hidden=False)
    return image


def test_a_snapshot_is_the_latest_frame_without_an_overlay(running, broker):
    with running() as line:
        assert line.command("snapshot") == ("failed", "no frame has been inspected yet")
        score = line.show(spot(1))
        assert line.command("snapshot") == ("done", "frame 0")
        (live,) = line.ear.wait_for_kind("snapshot")
        with Ear(broker.port, live.topic) as late:
            (kept,) = late.wait_for_kind("snapshot")
    assert (kept.topic, live.qos, kept.retain) == (line.config.mqtt.topics.snapshot, 0, True)
    assert bytes(kept.payload) == bytes(live.payload)
    picture = cv2.imdecode(np.frombuffer(live.payload, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(picture.astype(int) - spot(1)).mean() < 8
    info = SnapshotInfo.model_validate_json(read_comment(bytes(live.payload)))
    assert (info.frame, info.score, info.device) == (0, score["score"], line.config.mqtt.device)
    properties = dict(live.properties.UserProperty)
    assert (properties["schema"], properties["frame"]) == ("edge-occ/snapshot/1", "0")
    assert {"name", "captured_at", "score", "verdict", "ts"} < properties.keys()


def test_a_trigger_has_the_next_frame_inspected(running, monkeypatch):
    seen = []
    fires = CommandTrigger.fires
    monkeypatch.setattr(CommandTrigger, "fires", lambda self, image: seen.append(image.shape) or fires(self, image))

    def seen_all(count):
        return len(seen) == count

    with running(trigger={"mode": "command"}) as line:
        for number, triggered in enumerate((False, True, False, True)):
            if triggered:
                assert line.command("trigger") == ("done", "")
            line.show_unscored(part(number))
            wait_until(partial(seen_all, number + 1), "the frame")
        scores = payloads(line.ear.wait_for_kind("score", 2))
    assert [score["name"] for score in scores] == ["001.png", "003.png"]


def test_without_that_mode_a_trigger_is_refused(running):
    with running() as line:
        assert line.command("trigger") == ("refused", "the setting trigger.mode is not 'command'")


def test_a_rearmed_camera_starts_another_event(running):
    with running() as line:
        assert line.command("rearm") == ("done", "no event was open")
        line.show(spot(1))
        assert line.command("rearm") == ("done", "the open event was ended")
        line.show(spot(1))
        first, end, second = line.events(3)
    assert [first["phase"], end["phase"], second["phase"]] == ["start", "end", "start"]
    assert first["id"] == end["id"] != second["id"]


def test_a_threshold_within_the_calibrated_range_holds_from_the_next_frame_on(running, tiny_bundle):
    bundle = read_bundle(tiny_bundle)
    expected = decide(bundle, DecisionConfig(reject_rate=0.2)).reject.threshold
    highest = float(max(bundle.held_out))
    with running() as line:
        assert line.show(part(1))["threshold"] == pytest.approx(bundle.manifest.calibration.threshold)
        status, reason = line.command("threshold", rate=0.2)
        assert (status, reason[:10]) == ("done", "threshold ")
        assert line.show(part(2))["threshold"] == pytest.approx(expected)
        for wrong in ({"rate": 1e-4}, {"threshold": highest + 0.01}, {"threshold": 0.0}):
            status, reason = line.command("threshold", **wrong)
            assert (status, reason[:9]) == ("refused", "expected ")
        assert line.command("threshold", threshold=highest - 0.01)[0] == "done"
        assert line.show(part(3))["threshold"] == pytest.approx(highest - 0.01)
        assert line.command("reload")[0] == "done"
        assert line.show(part(4))["threshold"] == pytest.approx(bundle.manifest.calibration.threshold)


def test_muted_events_are_published_and_no_alarms(running):
    with running() as line:
        line.show(spot(1))
        assert line.command("mute", seconds=600) == ("done", "events are muted for 600 s")
        line.show(spot(2))
        assert line.command("mute", seconds=0) == ("done", "events are not muted")
        line.show(spot(2))
        events = line.events(5)
    assert [(event["phase"], event["muted"], event["anomalous"]) for event in events] == [
        ("start", False, 1), ("end", False, 0), ("start", True, 0), ("end", True, 0), ("start", False, 1),
    ]  # fmt: skip
    assert len({event["id"] for event in events}) == 3


def test_muting_ends_by_itself_and_a_defect_that_is_still_there_alarms(running):
    with running() as line:
        assert line.command("mute", seconds=1)[0] == "done"
        line.show(spot(1))
        start, end = line.events(2)  # the end comes with the end of the time
        line.show(spot(1))
        alarm = line.events(3)[-1]
    assert (start["phase"], end["phase"], alarm["phase"]) == ("start", "end", "start")
    assert (start["muted"], end["muted"], alarm["muted"], alarm["anomalous"]) == (True, True, False, 1)


def test_a_reload_is_acknowledged_with_its_outcome(running, tmp_path):
    with running() as line:
        status, reason = line.command("reload")
        assert (status, reason[:19]) == ("done", "reloaded part.occ: ")
        bundle = tmp_path / "part.occ"
        bundle.write_bytes(bundle.read_bytes()[:1000])
        status, reason = line.command("reload")
        assert (status, reason[:9]) == ("failed", "expected ")
        assert line.show(part(1))["verdict"] == "normal"  # the earlier one stays


def test_a_mask_holds_for_triggered_frames_and_a_reload_reads_it_again(running, tmp_path):
    def shown():
        assert line.command("trigger") == ("done", "")
        return line.show(defective)

    defective, mask = part(1), tmp_path / "mask.json"
    cv2.circle(defective, (92, 20), 9, (20, 20, 220), -1)
    mask.write_text(json.dumps({"inspect": [[[0, 82], [30, 82], [30, 112], [0, 112]]]}))
    with running(mask=str(mask), trigger={"mode": "command"}) as line:
        outside = shown()
        mask.write_text(json.dumps({"inspect": [[[72, 0], [112, 0], [112, 40], [72, 40]]]}))
        assert line.command("reload")[0] == "done"
        inside = shown()
        mask.write_text("{}}")
        assert line.command("reload")[0] == "failed"
        assert shown()["score"] == inside["score"], "the mask that could be read stays"
    assert (outside["verdict"], inside["verdict"]) == ("normal", "anomalous")
    assert outside["score"] < inside["score"]


def test_a_rollback_puts_the_previous_version_into_use(running, tmp_path):
    with running() as line:
        status, reason = line.command("rollback")
        assert status == "failed"
        assert "an earlier version of part.occ" in reason
        path = tmp_path / "part.occ"
        original, bundle = path.read_bytes(), read_bundle(path)
        training = bundle.manifest.training.model_copy(update={"command": "edge-occ train again"})
        replace_bundle(path, Bundle(bundle.manifest.model_copy(update={"training": training}), bundle.members))
        assert line.command("reload")[0] == "done"
        status, reason = line.command("rollback")
        assert (status, reason[:30]) == ("done", "version 1: reloaded part.occ: ")
        assert path.read_bytes() == original
        line.show(part(1))


def test_a_run_of_one_digest_is_not_rolled_back(running, tmp_path, tiny_bundle):
    digest = hashlib.sha256(tiny_bundle.read_bytes()).hexdigest()
    with running(sha256=digest) as line:
        assert line.command("rollback") == ("refused", "this run accepts the bundle of --sha256 only")


def test_a_recalibration_takes_the_frames_of_the_line_and_its_result_is_used(running, tmp_path, tiny_bundle):
    def dark(i):
        return (part(6000 + i) * 0.8).astype(np.uint8)

    with running() as line:
        assert line.show(dark(0))["verdict"] == "anomalous"
        status, reason = line.command("recalibrate", frames=104)
        assert (status, reason[:10]) == ("accepted", "104 frames")
        status, reason = line.command("recalibrate", frames=104)
        assert (status, "one recalibration at a time" in reason) == ("failed", True)
        status, reason = line.show_until_answered("recalibrate", (dark(i) for i in range(1, 1000)))
        assert status == "done", reason
        assert reason.startswith("threshold ")
        assert "; reloaded part.occ: " in reason
        assert line.show(part(7000))["threshold"] == read_bundle(tmp_path / "part.occ").manifest.calibration.threshold
    assert read_bundle(tmp_path / "part.occ").manifest.recalibrated.frames == 104
    assert {path.name for path in tmp_path.iterdir() if "part" in path.name} == {"part.occ", "part.versions"}


def test_a_recalibration_that_exceeds_the_guaranteed_bound_changes_nothing(running, tmp_path, tiny_bundle):
    """Copies are left out of the frames, and too few remain."""
    with running() as line:
        status, reason = line.command("recalibrate", frames=103)
        assert (status, "at least 104 frames" in reason) == ("failed", True)
        assert line.command("recalibrate", frames=13, threshold_only=True)[0] == "accepted"
        status, reason = line.show_until_answered("recalibrate", (part(i % 12) for i in range(1000)))
    assert status == "failed"
    assert reason.startswith("expected at least 13 frames for a new threshold; found ")
    assert (tmp_path / "part.occ").read_bytes() == tiny_bundle.read_bytes()


def test_a_recalibration_can_be_given_up_and_ends_with_the_run(running, tmp_path):
    with running() as line:
        assert line.command("recalibrate", frames=0) == ("done", "none was under way")
        line.command("recalibrate", frames=200)
        line.show(part(1))
        assert line.command("recalibrate", frames=0) == ("done", "the recalibration was given up")
        assert line.answer("recalibrate") == ("failed", "it was given up, or the run ends")
        assert line.command("recalibrate", frames=200)[0] == "accepted"
        line.show(part(2))
    assert not list(tmp_path.glob(".part.frames-*"))


def test_a_process_that_does_not_end_is_ended(monkeypatch):
    monkeypatch.setattr(recalibrating, "_END_SECONDS", 0.2)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    recalibrating._end(process)
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", ["mine.txt", "000001.png", "words.txt"])
def test_files_of_the_user_are_left_alone(running, tmp_path, name):
    """Whatever a folder is called, and its files, only what the recalibration made is removed."""
    (tmp_path / "part.frames").mkdir()
    (tmp_path / "part.frames" / name).write_text("mine")
    with running() as line:
        assert line.command("recalibrate", frames=200)[0] == "accepted"
        line.show(part(1))
        assert line.command("recalibrate", frames=0) == ("done", "the recalibration was given up")
    assert (tmp_path / "part.frames" / name).read_text() == "mine"
    assert not list(tmp_path.glob(".part.frames-*"))


def test_a_run_of_one_digest_is_not_recalibrated(running, tiny_bundle):
    with running(hashlib.sha256(tiny_bundle.read_bytes()).hexdigest()) as line:
        assert line.command("recalibrate", frames=9) == ("refused", "this run accepts the bundle of --sha256 only")


def test_a_command_that_is_not_enabled_is_refused(running):
    with running(mqtt={"commands": ["snapshot"]}) as line:
        assert line.command("rearm") == ("refused", "not enabled: add it to the setting mqtt.commands")


def test_without_commands_nothing_is_subscribed(running, broker):
    with running(mqtt={"commands": []}) as line:
        line.ear.send(line.config.mqtt.topics.command, b'{"id":"a","command":"rearm"}')
        line.show(part(1))
        assert line.ear.of("ack") == []
        assert not [thread for thread in threading.enumerate() if thread.name == "edge-occ commands"]


def test_an_unknown_command_in_the_settings_is_an_error():
    with pytest.raises(ValueError, match="commands"):
        RunConfig.model_validate({"mqtt": {"commands": ["reboot"]}})
