"""Events that a person has marked, read from what the store of evidence writes."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np
import pytest
from mqtt_helpers import inspection, render

from edge_occ.common.errors import InputError
from edge_occ.inspection.events import Phase
from edge_occ.mqtt.topics import Origin
from edge_occ.output.evidence.config import EvidenceConfig
from edge_occ.output.evidence.label import mark
from edge_occ.output.evidence.marked import marked_events
from edge_occ.output.evidence.store import EvidenceStore

NOW = datetime(2026, 11, 29, 10, 23, 31, 482_000, timezone.utc)


def keep(folder, camera, event, phases, minutes=0, suffix="png"):
    """Write evidence of an event, as a run does; returns its path."""
    with EvidenceStore(folder, EvidenceConfig(format=suffix), Origin("device", camera), render) as kept:
        for index, phase in enumerate(phases, 9):
            shown = inspection(index, 2.0, event=phase, of=event)
            shown = replace(shown, frame=replace(shown.frame, captured_at=NOW + timedelta(minutes=minutes)))
            kept.publish(shown)
    return "/".join(kept.paths(shown).evidence_record.split("/")[:3])


@pytest.fixture
def folder(tmp_path):
    """Three events of two cameras, two of them marked."""
    first = keep(tmp_path, "left", "a", (Phase.START, Phase.UPDATE, Phase.END))
    keep(tmp_path, "left", "b", (Phase.START, Phase.END), minutes=1)
    third = keep(tmp_path, "right", "c", (Phase.START,), minutes=2, suffix="jpeg")
    mark(tmp_path, first, "good")
    mark(tmp_path, third, "defect")
    return tmp_path


def test_marked_events_have_their_frames_in_the_order_of_capture(folder):
    good, defect = marked_events(folder)
    assert (good.camera, good.path, good.label) == ("left", "left/2026-11-29/102331.482Z-a", "good")
    assert [path.relative_to(folder / good.path).as_posix() for path in good.frames] == [
        "start-000009/frame.png",
        "peak-000010/frame.png",
    ]
    assert (cv2.imread(str(good.frames[1])) == np.full((32, 32, 3), 10)).all(), "the frame, not the heatmap"
    assert (defect.camera, defect.label, [path.name for path in defect.frames]) == ("right", "defect", ["frame.jpg"])


def test_the_folder_of_one_camera_gives_the_same_paths(folder, monkeypatch):
    assert marked_events(folder / "left") == marked_events(folder)[:1]
    monkeypatch.chdir(folder / "left")
    assert [event.path for event in marked_events(folder.__class__())] == ["left/2026-11-29/102331.482Z-a"]


def test_an_event_whose_frames_have_gone_has_none(folder):
    for piece in (folder / "left/2026-11-29/102331.482Z-a").glob("*-0*/frame.png"):
        piece.unlink()
    assert marked_events(folder / "left")[0].frames == ()


def test_links_and_other_folders_are_passed_over(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (folder / "left").rename(outside / "left")
    (folder / "left").symlink_to(outside / "left")
    (folder / "notes").mkdir()
    (folder / "notes" / "label.json").write_text("{")
    assert [event.camera for event in marked_events(folder)] == ["right"]


@pytest.mark.parametrize("name", ["none", "file"])
def test_what_is_no_folder_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"an evidence folder, or that of a camera in it, at .*evidence\.folder"):
        marked_events(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"\xff",
        b"[" * 5000,
        b"{}",
        b'{"schema": "edge-occ/label/2", "label": "good"}',
        b'{"schema": "edge-occ/label/1", "label": "fine"}',
        b'{"schema": "edge-occ/label/1", "label": ["good"]}',
        b'{"schema": "edge-occ/label/1", "label": "good"}' + b" " * 5000 + b"x",
    ],
)
def test_a_damaged_label_is_refused_or_bounded(folder, content):
    label = folder / "left/2026-11-29/102331.482Z-a/label.json"
    label.write_bytes(content)
    if content.endswith(b"x"):
        assert len(marked_events(folder)) == 2, "no more than a label's length is read"
        return
    with pytest.raises(InputError, match=r"a label \(edge-occ/label/1\).*mark the event again") as refused:
        marked_events(folder)
    assert len(str(refused.value)) < 700
