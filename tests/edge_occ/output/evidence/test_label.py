"""An operator's label."""

import contextlib
import json
import threading
from datetime import datetime, timedelta, timezone

import pytest

from edge_occ.common.clock import ManualClock
from edge_occ.common.errors import InputError
from edge_occ.output.evidence.label import mark
from edge_occ.output.evidence.ring import EvidenceRing

EVENT = "left/2026-11-29/102331.482Z-0f3a"
NOW = datetime(2026, 11, 29, 12, tzinfo=timezone.utc)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "evidence" / EVENT / "start-000041").mkdir(parents=True)
    return tmp_path / "evidence"


@pytest.mark.parametrize("below", ["", "/start-000041/frame.png", "/peak-1234567/record.json", "/end.json"])
@pytest.mark.parametrize("label", ["good", "defect"])
def test_a_label_lies_beside_the_evidence(folder, label, below):
    file = mark(folder, EVENT + below, label, ManualClock(NOW))
    assert file == folder / EVENT / "label.json"
    assert json.loads(file.read_bytes()) == {
        "schema": "edge-occ/label/1",
        "label": label,
        "at": round(NOW.timestamp() * 1000),
    }
    assert sorted(path.name for path in file.parent.iterdir()) == ["label.json", "start-000041"]


def test_a_later_label_replaces_an_earlier_one(folder):
    mark(folder, EVENT, "good")
    assert json.loads(mark(folder, EVENT, "defect").read_bytes())["label"] == "defect"


@pytest.mark.parametrize("label", ["", "Good", "unsure", "good\n", "../good", "x" * 1000])
def test_other_labels_are_refused(folder, label):
    with pytest.raises(InputError, match="good, defect") as refused:
        mark(folder, EVENT, label)
    assert len(str(refused.value)) < 300
    assert not (folder / EVENT / "label.json").exists()


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", ".", "..", "left", "left/2026-11-29", f"/{EVENT}", f"{EVENT}/", f"{EVENT}/..", f"{EVENT}/../../x"),
        *(f"../evidence/{EVENT}", "../2026-11-29/102331.482Z-0f3a", ".x/2026-11-29/102331.482Z-0f3a", f"{EVENT}\n"),
        *(
            f"{EVENT}\x00",
            "left/2026-11-29/..",
            "left/../2026-11-29/102331.482Z-0f3a",
            "left//2026-11-29/102331.482Z-a",
        ),
        *(
            f"{EVENT}/start-000041/../frame.png",
            f"{EVENT}/start-000041",
            "left\\2026-11-29\\102331.482Z-0f3a",
            "x" * 9999,
        ),
    ],
)
def test_other_paths_are_refused(folder, path):
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(InputError, match="the path of an event's evidence") as refused:
        mark(folder, path, "good")
    assert len(str(refused.value)) < 500
    assert sorted(folder.parent.rglob("*")) == before


def test_links_that_lead_out_of_the_folder_are_refused(folder, tmp_path):
    outside = tmp_path / "outside" / "2026-11-29" / "102331.482Z-0f3a"
    outside.mkdir(parents=True)
    (folder / "right").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="link"):
        mark(folder, "right/2026-11-29/102331.482Z-0f3a", "good")
    assert list(outside.iterdir()) == []
    (folder / EVENT / "label.json").symlink_to(tmp_path / "target")
    mark(folder, EVENT, "good")
    assert not (tmp_path / "target").exists(), "the link was replaced"


def test_an_event_that_was_removed_is_not_made_again(folder):
    gone = EVENT.replace("0f3a", "beef")
    with pytest.raises(InputError, match="removed or never kept"):
        mark(folder, gone, "good")
    assert not (folder / gone).exists()
    with pytest.raises(InputError, match="removed or never kept"):
        mark(folder / "none", EVENT, "good")
    assert not (folder / "none").exists()


def test_a_folder_that_cannot_be_written_is_an_error_in_three_parts(folder, monkeypatch):
    def fsync(descriptor):
        raise OSError(28, "No space left on device")

    mark(folder, EVENT, "good")
    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(InputError, match="No space left"):
        mark(folder, EVENT, "defect")
    assert json.loads((folder / EVENT / "label.json").read_bytes())["label"] == "good"
    assert len(list((folder / EVENT).iterdir())) == 2


def test_the_ring_may_remove_an_event_while_it_is_marked(tmp_path):
    """Either the event is there and labelled, or it is gone: never a folder of a label alone."""
    over, labelled = threading.Event(), []

    def operator():
        number = 0
        while not over.is_set():
            number = (number + 1) % 20
            with contextlib.suppress(InputError):
                labelled.append(mark(tmp_path, f"left/2026-11-29/1200{number:02}.000Z-e", "good"))

    thread = threading.Thread(target=operator)
    thread.start()
    for _ in range(10):
        clock = ManualClock(NOW)
        with EvidenceRing(tmp_path / "left", 500, timedelta(days=1), clock, lambda folder: 10**9) as ring:
            for number in range(20):
                ring.add_folder(f"2026-11-29/1200{number:02}.000Z-e", "start-000001", {"frame.png": b"x" * 100})
            clock.advance(3 * 86_400)
            ring.expire()
            assert list((tmp_path / "left").glob("*/*")) == []
    over.set()
    thread.join()
    assert labelled
