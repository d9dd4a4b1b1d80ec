"""Folders of pictures as sources, some of them damaged, missing or dark."""

from __future__ import annotations

import itertools
import shutil

import cv2
import numpy as np
import pytest
from playback import faults, frames_of, play

from edge_occ.common.errors import InputError, SourceLost
from edge_occ.sources.faults import Reason
from edge_occ.sources.files import FileSource
from edge_occ.sources.opening import open_source
from edge_occ.sources.pictures import Pictures


def test_damaged_pictures_are_faults_in_their_place(tmp_path, write_pictures):
    folder = write_pictures(tmp_path / "parts", 5)
    (folder / "img1.png").write_bytes(b"no picture")
    (folder / "img3.png").write_bytes(b"")
    items, error = play(FileSource(Pictures(str(folder))))
    assert error is None
    assert [(item.index, item.name) for item in items] == [(n, f"img{n}.png") for n in range(5)]
    assert [(fault.index, fault.reason) for fault in faults(items)] == [
        (1, Reason.UNREADABLE),
        (3, Reason.UNREADABLE),
    ]
    assert "damaged" in faults(items)[0].detail
    assert "empty" in faults(items)[1].detail


def test_any_error_of_a_decoder_is_the_fault_of_one_picture(tmp_path, write_pictures, monkeypatch):
    import edge_occ.sources.faults as faults_module

    folder = write_pictures(tmp_path / "parts", 3)
    read = faults_module.read_image

    def failing(path, white=None):
        if path.name == "img1.png":
            raise MemoryError("too large")
        return read(path)

    monkeypatch.setattr(faults_module, "read_image", failing)
    items, error = play(FileSource(Pictures(str(folder))))
    assert error is None
    assert [f.index for f in frames_of(items)] == [0, 2]
    assert "MemoryError: too large" in faults(items)[0].detail


def test_missing_pictures_are_a_lost_source_after_the_others(tmp_path, write_pictures):
    folder = write_pictures(tmp_path / "parts", 4)
    reel = Pictures(str(folder))
    for number in (1, 2):
        (folder / f"img{number}.png").unlink()
    items, error = play(FileSource(reel))
    assert [f.name for f in frames_of(items)] == ["img0.png", "img3.png"]
    assert len(faults(items)) == 2
    assert isinstance(error, SourceLost)
    assert error.expected == f"the 4 pictures that {folder} had at the start"
    assert error.found == "img1.png and 1 more missing"


@pytest.mark.parametrize("loop", [False, True])
def test_a_folder_that_goes_away_is_a_lost_source(tmp_path, write_pictures, loop):
    folder = write_pictures(tmp_path / "parts", 3)
    reel = Pictures(str(folder))
    shutil.rmtree(folder)
    items, error = play(FileSource(reel, loop=loop))
    assert isinstance(error, SourceLost)
    assert len(faults(items)) == 3


def test_a_loop_warns_once_of_missing_pictures_and_continues(tmp_path, write_pictures, caplog):
    folder = write_pictures(tmp_path / "parts", 3)
    reel = Pictures(str(folder))
    (folder / "img1.png").unlink()
    with FileSource(reel, loop=True) as source:
        items = list(itertools.islice(source, 30))
    assert len(faults(items)) == 10
    assert sum("img1.png missing" in record.message for record in caplog.records) == 1


def test_a_dark_16_bit_picture_is_played_where_the_scale_is_known(tmp_path):
    """Frames must be scored when the lamp fails; taken by itself, such a picture looks like 12-bit data."""
    cv2.imwrite(str(tmp_path / "1.png"), np.full((4, 4), 51400, np.uint16))
    cv2.imwrite(str(tmp_path / "2_lamp_off.png"), np.full((4, 4), 514, np.uint16))
    with open_source(str(tmp_path), white=65535) as source:
        frames = list(source)
    assert [frame.image[0, 0].tolist() for frame in frames] == [[200] * 3, [2] * 3]


@pytest.mark.parametrize("loop", [False, True])
def test_a_folder_without_one_usable_picture_is_an_error(tmp_path, loop):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 4), 2000, np.uint16))
    with (
        FileSource(Pictures(str(tmp_path)), loop=loop) as source,
        pytest.raises(InputError, match=r"3 pictures, none of them usable; the first: .*12-bit"),
    ):
        list(source)


def test_a_folder_without_pictures_is_refused_when_named(tmp_path):
    with pytest.raises(InputError, match="0 pictures among 0 files"):
        Pictures(str(tmp_path))
