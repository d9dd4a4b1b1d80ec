"""The sink that keeps evidence."""

import errno
import json
import logging
import os
import threading
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from mqtt_helpers import inspection, render, wait_until

from edge_occ.common.clock import ManualClock
from edge_occ.common.errors import InputError
from edge_occ.inspection.events import Phase
from edge_occ.inspection.evidence import EvidencePaths
from edge_occ.mqtt.topics import Origin
from edge_occ.output.evidence.config import EvidenceConfig
from edge_occ.output.evidence.store import EvidenceStore
from edge_occ.sources.faults import Fault, Reason, Unscored

NOW = datetime(2026, 11, 29, 10, 23, 31, 482_000, timezone.utc)
START, UPDATE, END = Phase


def store(folder, camera="left", *, config=None, drawn=render, **options):
    return EvidenceStore(
        folder, config or EvidenceConfig(), Origin("station-7", camera), drawn, bundle="part.occ", **options
    )


def shown(index, phase, of="e", score=2.0):
    made = inspection(index, score, event=phase, of=of, name=f"{index}.png")
    noise = np.random.default_rng(index).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    return replace(made, frame=replace(made.frame, captured_at=NOW, image=noise))


def files(folder):
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"
    )


def settled(kept):
    wait_until(lambda: kept.waiting == 0, "the evidence")


EVENT = "left/2026-11-29/102331.482Z-e"


def test_start_peak_and_end_of_an_event_are_kept(tmp_path):
    with store(tmp_path) as kept:
        kept.publish(inspection(6))
        named = []
        for index, phase in enumerate((START, UPDATE, UPDATE, None, END), 7):
            given = shown(index, phase) if phase else inspection(index)
            named.append(kept.paths(given))
            kept.publish(given)
            settled(kept)
    assert files(tmp_path) == [
        f"{EVENT}/end.json",
        *(f"{EVENT}/peak-000009/{name}" for name in ("frame.png", "heatmap.jpg", "record.json")),
        *(f"{EVENT}/start-000007/{name}" for name in ("frame.png", "heatmap.jpg", "record.json")),
    ], "a former peak has gone"
    for paths in (named[0], named[2], named[4]):
        assert all((tmp_path / path).is_file() for path in paths)
    assert kept.lost == 0
    frame = cv2.imread(str(tmp_path / named[2].evidence_frame), cv2.IMREAD_UNCHANGED)
    assert (frame == shown(9, UPDATE).frame.image).all(), "without loss"
    heatmap = (tmp_path / named[2].evidence_heatmap).read_bytes()
    assert heatmap == render(shown(9, UPDATE))


def test_a_record_has_what_the_messages_have(tmp_path):
    with store(tmp_path) as kept:
        paths = kept.paths(shown(7, START))
        kept.publish(shown(7, START))
        kept.finish(shown(8, END, score=0.5))
    record = json.loads((tmp_path / paths.evidence_record).read_bytes())
    assert record.pop("verdict_ms") == 0
    assert record == {
        "schema": "edge-occ/evidence/1",
        "device": "station-7",
        "camera": "left",
        "bundle": "part.occ",
        "id": "e",
        "phase": "start",
        "event_type": "start",
        "frame": 7,
        "name": "7.png",
        "captured_at": "2026-11-29T10:23:31.482000Z",
        "ts": round(NOW.timestamp() * 1000),
        "score": 2.0,
        "p_value": 0.25,
        "threshold": 1.0,
        "review_threshold": 1.0,
        "verdict": "anomalous",
        "anomalous": 1,
        "muted": False,
        "peak": 2.0,
        "frames": 1,
        "duration_s": 0.0,
        "boxes": [{"x": 1, "y": 2, "width": 3, "height": 4, "peak": 2.0}],
        **paths._asdict(),
    }
    end = json.loads((tmp_path / EVENT / "end.json").read_bytes())
    assert (end["phase"], end["frame"], end["score"], end["anomalous"]) == ("end", 8, 0.5, 0)
    assert end["evidence_frame"] == paths.evidence_frame


def test_jpeg_is_smaller_and_close(tmp_path):
    smooth = shown(7, START)
    ramp = np.tile(np.linspace(0, 255, 300).astype(np.uint8)[:, None, None], (1, 200, 3))
    smooth = replace(smooth, frame=replace(smooth.frame, image=ramp))
    with store(tmp_path, config=EvidenceConfig(format="jpeg")) as kept:
        path = tmp_path / kept.paths(smooth).evidence_frame
        kept.publish(smooth)
    assert path.name == "frame.jpg"
    assert np.abs(cv2.imread(str(path)).astype(int) - ramp).max() <= 4


def test_faults_and_frames_without_a_change_leave_nothing(tmp_path):
    with store(tmp_path) as kept:
        for reason in Reason:
            kept.fault(Fault(3, NOW, Unscored(reason, "x"), "a.png"))
        kept.publish(inspection(4, 0.5))
    assert files(tmp_path) == []
    assert kept.paths(inspection(4)) == EvidencePaths()


def test_the_frame_path_waits_for_nothing_and_losses_are_counted(tmp_path):
    busy, go_on = threading.Event(), threading.Event()

    def stuck(given):
        busy.set()
        go_on.wait()
        return render(given)

    with store(tmp_path, drawn=stuck) as kept:
        kept.publish(shown(0, START, "e0"))
        busy.wait()
        for number in range(1, 40):
            kept.publish(shown(10 * number, START, f"e{number}"))
            kept.publish(shown(10 * number + 1, UPDATE, f"e{number}"))
            kept.publish(shown(10 * number + 2, END, f"e{number}"))
        assert kept.waiting == 1 + 16 + 39, "pictures are limited, the others are ends"
        assert kept.lost == 39 * 2 - 16
        go_on.set()
    kinds = [Path(name).parent.name for name in files(tmp_path) if name.endswith("frame.png")]
    assert [kind[:5] for kind in kinds] == ["start"] * 17, "starts are kept rather than peaks"


def test_the_end_writes_what_waits_but_not_for_ever(tmp_path, caplog):
    go_on, busy = threading.Event(), threading.Event()

    def stuck(given):
        busy.set()
        go_on.wait()
        return render(given)

    kept = store(tmp_path, drawn=stuck)
    with kept:
        for number in range(3):
            kept.publish(shown(number, START, f"e{number}"))
        busy.wait()
        kept.close(0.01)
        assert kept.lost == 2
        go_on.set()
    assert "2 pieces of evidence could not be kept" in caplog.text
    settled(kept)


class Disk:
    """A disk of which a test says how much room it has."""

    def __init__(self):
        self.free = 10**12

    def __call__(self, folder):
        return self.free


def test_a_full_disk_costs_the_evidence_alone_and_it_is_kept_again_when_there_is_room(tmp_path, caplog):
    disk, clock = Disk(), ManualClock(NOW)
    with store(tmp_path, room=disk, clock=clock) as kept:
        kept.publish(shown(0, START, "before"))
        settled(kept)
        disk.free = 0
        for number in range(5):
            kept.publish(shown(number, START, "full"))
            settled(kept)
            clock.advance(10)
        assert kept.lost == 5
        disk.free = 10**12
        kept.publish(shown(9, START, "after"))
        settled(kept)
        assert kept.lost == 5
    kept_events = {Path(name).parts[2].partition("-")[2] for name in files(tmp_path)}
    assert kept_events == {"before", "after"}
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[:2] for line in lines] == [["no", "evidence"], ["evidence", "is"], ["5", "pieces"]]
    assert "disk is full" in lines[0]


def test_after_a_failure_the_disk_is_left_alone_for_a_while(tmp_path):
    disk, clock = Disk(), ManualClock(NOW)
    disk.free = 0
    with store(tmp_path, room=disk, clock=clock) as kept:
        kept.publish(shown(0, START, "a"))
        settled(kept)
        disk.free = 10**12
        clock.advance(4.9)
        kept.publish(shown(1, START, "b"))
        settled(kept)
        assert kept.lost == 2
        clock.advance(0.2)
        kept.publish(shown(2, START, "c"))
    assert [Path(name).parts[2][-1] for name in files(tmp_path) if name.endswith("png")] == ["c"]


def test_an_error_of_the_disk_in_the_middle_leaves_nothing_half(tmp_path, monkeypatch):
    clock, failing = ManualClock(NOW), [True]

    def fsync(descriptor):
        if failing[0] and os.fstat(descriptor).st_size > 500:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with store(tmp_path, clock=clock) as kept:
        kept.publish(shown(0, START, "a"))
        settled(kept)
        assert files(tmp_path) == []
        failing[0] = False
        clock.advance(10)
        kept.publish(shown(1, START, "b"))
    assert kept.lost == 1
    assert len(files(tmp_path)) == 3


@pytest.mark.parametrize("blocked", ["evidence", "evidence/left"])
def test_without_a_folder_that_can_be_made_it_runs_and_takes_up_when_it_can(tmp_path, caplog, blocked):
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).write_text("a file in the way")
    clock = ManualClock(NOW)
    with store(tmp_path / "evidence", clock=clock) as kept:
        clock.advance(10)
        kept.publish(shown(0, START, "a"))
        settled(kept)
        assert kept.lost == 1
        (tmp_path / blocked).unlink()
        clock.advance(10)
        kept.publish(shown(1, START, "b"))
    assert len(files(tmp_path / "evidence")) == 3
    assert caplog.text.count("no evidence is kept") == 1


def test_a_folder_that_is_removed_under_way_is_made_again(tmp_path):
    clock = ManualClock(NOW)
    with store(tmp_path / "evidence", clock=clock) as kept:
        kept.publish(shown(0, START, "a"))
        settled(kept)
        (tmp_path / "evidence").rename(tmp_path / "gone")
        kept.publish(shown(1, START, "b"))
        settled(kept)
        clock.advance(10)
        kept.publish(shown(2, START, "c"))
    assert kept.lost == 1
    assert [Path(name).parts[2][-1] for name in files(tmp_path / "evidence") if name.endswith("png")] == ["c"]


def test_an_error_of_the_renderer_costs_one_piece_and_not_the_thread(tmp_path, caplog):
    clock = ManualClock(NOW)

    def draw(given):
        if given.frame.index == 0:
            raise ValueError("no colours")
        return render(given)

    with store(tmp_path, drawn=draw, clock=clock) as kept:
        kept.publish(shown(0, START, "a"))
        settled(kept)
        clock.advance(10)
        kept.publish(shown(1, START, "b"))
    assert kept.lost == 1
    assert "no colours" in caplog.text
    assert len(files(tmp_path)) == 3


def test_two_cameras_share_a_folder_and_one_camera_has_one_inspector(tmp_path, caplog):
    with store(tmp_path, "left") as left, store(tmp_path, "right") as right, store(tmp_path, "") as unnamed:
        for kept in (left, right, unnamed):
            kept.publish(shown(0, START))
        for camera in ("left", "right", "", "default"):
            with pytest.raises(InputError, match=rf"process {os.getpid()}") as refused, store(tmp_path, camera):
                pytest.fail("entered")
            assert "mqtt.camera" in refused.value.advice
    assert {Path(name).parts[0] for name in files(tmp_path)} == {"left", "right", "default"}
    assert left.lost == right.lost == unnamed.lost == 0
    with store(tmp_path, "left"):
        pass


@pytest.mark.parametrize("text", ["../../out", "..", "/tmp/out", "a/b", "x\x00y", "caf\udce9", "漢字"])
def test_names_never_leave_the_folder(tmp_path, text):
    folder = tmp_path / "in" / "evidence"
    with EvidenceStore(folder, EvidenceConfig(), Origin("../d", text), render) as kept:
        kept.publish(shown(0, START, of=text))
        paths = kept.paths(shown(0, START, of=text))
        kept.finish(shown(1, END, of=text))
    assert kept.lost == 0
    assert len(files(folder)) == 4
    assert files(tmp_path) == [f"in/evidence/{name}" for name in files(folder)]
    assert all((folder / path).is_file() for path in paths)


def test_limits_of_the_settings_hold(tmp_path):
    clock = ManualClock(NOW)
    config = EvidenceConfig(max_mb=1, max_days=2)
    with store(tmp_path, config=config, clock=clock) as kept:
        for number in range(30):
            big = shown(number, START, f"e{number:02}")
            noise = np.random.default_rng(number).integers(0, 256, (200, 200, 3), dtype=np.uint8)
            kept.publish(replace(big, frame=replace(big.frame, image=noise)))
            settled(kept)
    assert sum((tmp_path / name).stat().st_size for name in files(tmp_path)) <= 1_000_000
    names = [Path(name).parts[2][-3:] for name in files(tmp_path) if name.endswith("png")]
    assert names == [f"e{number}" for number in range(30 - len(names), 30)], "the latest"
    assert 4 < len(names) < 9
    clock.advance(3 * 86_400)
    with store(tmp_path, config=config, clock=clock):
        assert files(tmp_path) == []


def test_nothing_is_logged_where_nothing_is_wrong(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with store(tmp_path) as kept:
        kept.publish(shown(0, START))
    kept.close()
    assert caplog.text == ""
