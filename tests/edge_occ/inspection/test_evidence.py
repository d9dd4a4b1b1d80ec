"""Paths of evidence."""

import re
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import PurePosixPath

import pytest
from mqtt_helpers import inspection

from edge_occ.inspection.events import Phase
from edge_occ.inspection.evidence import DAY, EVENT, PIECE, EvidenceNames, EvidencePaths, NoEvidence

START = datetime(2026, 11, 29, 10, 23, 31, 482_900, timezone.utc)


def at(index, phase, moment=START, of="0f3a"):
    shown = inspection(index, 2.0, event=phase, of=of)
    return replace(shown, frame=replace(shown.frame, captured_at=moment))


def test_an_event_has_one_folder_by_the_capture_of_its_start():
    names = EvidenceNames("left")
    folder = "left/2026-11-29/102331.482Z-0f3a"
    later = START.replace(day=30, hour=0)
    assert names.paths(at(41, Phase.START)) == EvidencePaths(
        f"{folder}/start-000041/frame.png", f"{folder}/start-000041/heatmap.jpg", f"{folder}/start-000041/record.json"
    )
    assert names.paths(at(43, Phase.UPDATE, later)) == EvidencePaths(
        f"{folder}/peak-000043/frame.png", f"{folder}/peak-000043/heatmap.jpg", f"{folder}/peak-000043/record.json"
    )
    assert names.paths(at(99, Phase.END, later)) == EvidencePaths(
        f"{folder}/peak-000043/frame.png", f"{folder}/peak-000043/heatmap.jpg", f"{folder}/end.json"
    )


def test_an_event_without_a_new_peak_ends_with_the_pictures_of_its_start():
    names = EvidenceNames(suffix="jpg")
    names.paths(at(1, Phase.START, of="before"))
    names.paths(at(2, Phase.UPDATE, of="before"))
    names.paths(at(5, Phase.START))
    assert names.paths(at(6, Phase.END)).evidence_frame == "default/2026-11-29/102331.482Z-0f3a/start-000005/frame.jpg"


def test_they_depend_on_the_event_alone():
    changes = [at(5, Phase.START), at(6, Phase.UPDATE), at(9, Phase.UPDATE), at(12, Phase.END)]
    one, other = EvidenceNames("left"), EvidenceNames("left")
    expected = [one.paths(change) for change in changes]
    assert [paths for change in changes for paths in (other.paths(change), other.paths(change))] == [
        paths for paths in expected for _ in range(2)
    ]


def test_a_frame_without_a_change_has_none():
    assert EvidenceNames().paths(inspection()) == EvidencePaths() == NoEvidence().paths(at(1, Phase.START))
    assert NoEvidence().lost == 0


@pytest.mark.parametrize("text", ["../../etc", "/etc/passwd", "..", ".", "a/../../b", "a\x00", "caf\udce9", "x" * 400])
def test_no_name_leads_out_of_the_folder(text):
    names = EvidenceNames(text)
    for phase in (Phase.START, Phase.UPDATE, Phase.END):
        for path in names.paths(at(2**40, phase, of=text)):
            parts = PurePosixPath(path).parts
            assert 4 <= len(parts) <= 5
            assert not {"..", ".", "/"} & set(parts)
            assert re.fullmatch(rf"{re.escape(names.camera)}/{DAY}/{EVENT}/({PIECE}/)?[a-z]+\.[a-z]+", path)
            assert max(map(len, parts)) < 100
