"""Pictures that another program writes into a folder."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.errors import InputError
from edge_occ.sources.faults import Fault, Reason
from edge_occ.sources.hot_folder import FileState, HotFolder, NewFiles
from edge_occ.sources.opening import open_source

SETTLE = 0.05
LONG = 10.0


def png(value: int) -> bytes:
    done, data = cv2.imencode(".png", np.full((6, 8, 3), value, np.uint8))
    assert done
    return data.tobytes()


def value(item) -> int:
    return int(item.image[0, 0, 0])


class Taken:
    """Items of a source, taken in a thread as they come; a context manager."""

    def __init__(self, source) -> None:
        self.source, self.items = source, []
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._take, daemon=True)

    def __enter__(self):
        self.source.__enter__()
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.source.__exit__(*exception)
        self.thread.join(LONG)

    def _take(self):
        for item in self.source:
            with self.changed:
                self.items.append(item)
                self.changed.notify()

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.items) >= count, LONG), self.items
            return self.items


@pytest.fixture
def watch(tmp_path):
    """Starts to watch ``tmp_path``, and gives what was taken so far."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Taken(HotFolder(str(tmp_path), settle=SETTLE, **options)))


def test_new_pictures_are_given_once_and_those_already_there_not(tmp_path, watch):
    (tmp_path / "old.png").write_bytes(png(1))
    taken = watch()
    (tmp_path / "a.png").write_bytes(png(2))
    assert [item.name for item in taken.wait_for(1)] == ["a.png"]
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(png(9))
    (tmp_path / "b.png").write_bytes(png(3))
    items = taken.wait_for(2)
    time.sleep(4 * SETTLE)
    assert [(item.index, item.name, value(item)) for item in items] == [(0, "a.png", 2), (1, "b.png", 3)]


def test_those_already_there_come_first_where_asked(tmp_path, watch):
    for name in ("p10.png", "p2.png"):
        (tmp_path / name).write_bytes(png(1))
        os.utime(tmp_path / name, (1000, 1000))
    assert [item.name for item in watch(everything=True).wait_for(2)] == ["p2.png", "p10.png"]


def test_a_picture_that_is_being_written_is_waited_for(tmp_path, watch):
    taken = watch()
    data = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    encoded = cv2.imencode(".png", data)[1].tobytes()
    with (tmp_path / "slow.png").open("wb") as file:
        for start in range(0, len(encoded), 1000):
            file.write(encoded[start : start + 1000])
            file.flush()
            time.sleep(SETTLE / 5)
    (item,) = taken.wait_for(1)
    np.testing.assert_array_equal(item.image, data)


def test_a_renamed_picture_is_not_given_again_and_one_written_again_is(tmp_path, watch):
    taken = watch()
    (tmp_path / "a.part").write_bytes(png(4))
    (tmp_path / "a.part").rename(tmp_path / "a.png")
    taken.wait_for(1)
    (tmp_path / "a.png").rename(tmp_path / "done-a.png")
    (tmp_path / "latest.png").write_bytes(png(5))
    taken.wait_for(2)
    (tmp_path / "latest.png").write_bytes(png(6))
    items = taken.wait_for(3)
    assert [(item.name, value(item)) for item in items] == [("a.png", 4), ("latest.png", 5), ("latest.png", 6)]


def test_a_damaged_picture_is_a_fault(tmp_path, watch):
    taken = watch()
    (tmp_path / "bad.png").write_bytes(png(7)[:40])
    (item,) = taken.wait_for(1)
    assert isinstance(item, Fault)
    assert item.reason is Reason.UNREADABLE


def test_a_folder_that_disappears_is_waited_for(tmp_path, caplog):
    folder = tmp_path / "share"
    folder.mkdir()
    with Taken(HotFolder(str(folder), settle=SETTLE)) as taken:
        folder.rmdir()
        deadline = time.monotonic() + LONG
        while "waiting for it" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        folder.mkdir()
        (folder / "a.png").write_bytes(png(8))
        assert [item.name for item in taken.wait_for(1)] == ["a.png"]


def test_a_share_that_is_unmounted_and_mounted_again_gives_no_picture_twice(tmp_path, caplog):
    """Below a share is an empty folder of another file system; a link plays the mount, which takes root."""
    share = Path(tempfile.mkdtemp(dir="/dev/shm"))
    below, folder = tmp_path / "below", tmp_path / "folder"
    below.mkdir()
    if share.stat().st_dev == below.stat().st_dev:
        share.rmdir()
        pytest.skip("the folder for temporary files is on the same file system as /dev/shm")

    def mount(target):
        (tmp_path / "link").symlink_to(target)
        (tmp_path / "link").rename(folder)

    try:
        mount(share)
        with Taken(HotFolder(str(folder), settle=SETTLE)) as taken:
            (share / "a.png").write_bytes(png(1))
            taken.wait_for(1)
            mount(below)
            deadline = time.monotonic() + LONG
            while "waiting for the share" not in caplog.text:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            mount(share)
            (share / "b.png").write_bytes(png(2))
            taken.wait_for(2)
            time.sleep(5 * SETTLE)
            assert [item.name for item in taken.items] == ["a.png", "b.png"]
    finally:
        shutil.rmtree(share)


def test_a_slow_inspection_does_not_make_the_looks_rarer(tmp_path):
    """Pauses of ten times the inspection's time would grow with the pictures that come in them."""
    for index in range(7):
        (tmp_path / f"{index}.png").write_bytes(png(index))
    with HotFolder(str(tmp_path), everything=True, settle=0.0) as source:
        frames = iter(source)
        time.sleep(2.0)  # the reader waits for room
        assert [next(frames).name for _ in range(7)] == [f"{index}.png" for index in range(7)]
        (tmp_path / "next.png").write_bytes(png(8))
        begun = time.monotonic()
        assert next(frames).name == "next.png"
        assert time.monotonic() - begun < LONG


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="make it"):
        HotFolder(str(tmp_path / "missing"))


def test_the_address_of_a_watched_folder(tmp_path):
    (tmp_path / "a.png").write_bytes(png(3))
    with open_source(f"{tmp_path}?watch=all&settle=0") as source:
        assert isinstance(source, HotFolder)
        assert not source.live
        assert next(iter(source)).name == "a.png"


STATES = st.builds(FileState, st.sampled_from("ab"), st.integers(1, 2), st.integers(0, 2), st.integers(1, 2))


@given(st.lists(st.tuples(st.lists(STATES, max_size=4), st.sampled_from([0.0, 0.4, 1.0, 6.0])), max_size=12))
def test_a_file_is_given_once_it_has_not_changed_for_the_time_set(looks):
    """Against a naive model that remembers every look."""
    files, history, now = NewFiles(1.0), [], 0.0
    given_now: set[tuple[int, int, int]] = set()
    for states, pause in looks:
        now += pause
        there = {state.identity for state in states}
        history.append((now, there))
        given_now &= there
        expected = set()
        for identity in there - given_now:
            since = now
            for moment, seen in reversed(history):
                if identity not in seen:
                    break
                since = moment
            if now - since >= (1.0 if identity[1] else 5.0):
                expected.add(identity)
        found = files.completed(states, now)
        assert {state.identity for state in found} == expected
        assert len(found) == len(expected)
        given_now |= expected
