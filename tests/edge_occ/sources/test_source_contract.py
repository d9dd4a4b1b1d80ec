"""The contract of a source, for the fake and for every real implementation."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import islice, repeat
from pathlib import Path

import numpy as np
import pytest
from fakes.capture import FakeCamera, FakeCapture

from edge_occ.common.errors import SourceLost
from edge_occ.sources.camera import CameraSource, Patience
from edge_occ.sources.fake import Drop, FakeSource, Pause, Step
from edge_occ.sources.faults import Fault, Reason, Unscored
from edge_occ.sources.frame import Frame, Source
from edge_occ.sources.hot_folder import HotFolder
from edge_occ.sources.opening import open_source

FRAMES = 6
LONG = 10.0
"""Seconds after which a test that hangs fails."""

IMAGE = np.zeros((4, 6, 3), np.uint8)


@dataclass
class Case:
    """An implementation under test.

    Attributes:
        finite: opens a source of :data:`FRAMES` frames, which may then be lost.
        endless: opens a source without an end.
        faulty: opens a source of five pictures, the third of which cannot be read; ``None`` where that is not possible.
        live: whether it drops frames.
    """

    finite: Callable[[], Source]
    endless: Callable[[], Source]
    faulty: Callable[[], Source] | None = None
    live: bool = False


class EndingHotFolder(HotFolder):
    """Ends after so many pictures, as the real one does not end by itself."""

    def __init__(self, folder: Path, pictures: int) -> None:
        super().__init__(str(folder), everything=True, settle=0.01)
        self._pictures = pictures

    def _frames(self) -> Generator[Frame | Fault, None, None]:
        yield from islice(super()._frames(), self._pictures)


KINDS = ["fake", "live fake", "pictures", "live pictures", "hot folder", "video", "live video", "camera"]


@pytest.fixture(params=KINDS)
def case(request, tmp_path: Path, write_pictures, write_video) -> Case:
    kind = request.param
    query = "fps=1000&live=1" if kind.startswith("live") else "fps=1000"
    if kind == "fake":
        unreadable = Unscored(Reason.UNREADABLE, "2.png is damaged")
        return Case(
            lambda: FakeSource([IMAGE] * FRAMES),
            lambda: FakeSource([IMAGE, Pause(math.inf)]),
            lambda: FakeSource([IMAGE, IMAGE, unreadable, IMAGE, IMAGE]),
        )
    if kind == "live fake":
        script: list[Step] = [IMAGE, Drop(2), IMAGE, Pause(0.001), Drop(), IMAGE]
        return Case(lambda: FakeSource(script, live=True), lambda: FakeSource(repeat(IMAGE), live=True), live=True)
    if kind.endswith("pictures") or kind == "hot folder":
        folder = write_pictures(tmp_path / "parts", FRAMES)
        damaged = write_pictures(tmp_path / "damaged", 5)
        (damaged / "img2.png").write_bytes(b"\x89PNG damaged")
        for picture in damaged.iterdir():  # a hot folder gives the earliest first, and of the same time by name
            os.utime(picture, (1000, 1000))
        if kind == "hot folder":
            return Case(
                lambda: EndingHotFolder(folder, FRAMES),
                lambda: open_source(f"{folder}/?watch=all&settle=0.05"),
                lambda: EndingHotFolder(damaged, 5),
            )
        live = kind.startswith("live")
        faulty = None if live else lambda: open_source(f"{damaged}/")
        return Case(
            lambda: open_source(f"{folder}/?{query}"), lambda: open_source(f"{folder}/?{query}&loop=1"), faulty, live
        )
    if kind.endswith("video"):
        file = write_video(tmp_path / "line.avi", FRAMES)
        return Case(
            lambda: open_source(f"{file}?{query}"),
            lambda: open_source(f"{file}?{query}&loop=1"),
            live=kind.startswith("live"),
        )
    camera = partial(CameraSource, "/dev/video0", identify=lambda _: None)
    return Case(
        lambda: camera(patience=Patience(lost=0), open_capture=FakeCamera(FakeCapture(range(FRAMES)))),
        lambda: camera(open_capture=FakeCamera(FakeCapture(pace=threading.Semaphore(3)))),
        live=True,
    )


def play(source: Source) -> Iterator[Frame | Fault]:
    """Everything that a source yields until it is exhausted or lost."""
    with suppress(SourceLost):
        yield from source


def test_indices_count_every_frame_and_gaps_are_drops(case: Case):
    with case.finite() as source:
        items = list(play(source))
    indices = [item.index for item in items]
    assert indices == sorted(set(indices))
    assert len(items) + source.dropped == indices[-1] + 1 == FRAMES


def test_only_a_live_source_drops(case: Case):
    with case.finite() as source:
        indices = [item.index for item in play(source)]
    assert source.live is case.live
    if not case.live:
        assert (indices, source.dropped) == (list(range(FRAMES)), 0)


def test_capture_times_are_in_order_and_in_utc(case: Case):
    begin = datetime.now(timezone.utc)
    with case.finite() as source:
        frames = list(play(source))
    assert frames
    assert [f.captured_monotonic for f in frames] == sorted(f.captured_monotonic for f in frames)
    assert all(f.captured_at.utcoffset() == timedelta(0) for f in frames)
    assert all(begin <= f.captured_at <= datetime.now(timezone.utc) for f in frames)


def test_images_are_bgr_of_8_bits(case: Case):
    with case.finite() as source:
        frames = list(play(source))
    assert {(frame.image.dtype, frame.image.shape[2:]) for frame in frames} == {(np.dtype(np.uint8), (3,))}


def test_close_from_another_thread_ends_the_iteration(case: Case):
    begun, ended = threading.Event(), threading.Event()

    def iterate(source: Source) -> None:
        for _ in source:
            begun.set()
        ended.set()

    with case.endless() as source:
        reader = threading.Thread(target=iterate, args=(source,), daemon=True)
        reader.start()
        assert begun.wait(LONG)
        source.close()
        source.close()
        assert ended.wait(LONG)
        reader.join(LONG)
        assert next(iter(source), None) is None


# Live sources drop, and video codecs conceal damage.
@pytest.mark.parametrize("case", ["fake", "pictures", "hot folder"], indirect=True)
def test_an_unreadable_picture_is_a_fault_in_its_place(case: Case):
    with case.faulty() as source:
        items = list(source)
    assert [item.index for item in items] == list(range(5))
    assert [isinstance(item, Fault) for item in items] == [False, False, True, False, False]
    assert items[2].reason is Reason.UNREADABLE
    assert items[1].captured_at <= items[2].captured_at <= items[3].captured_at


def polled(source: Source) -> Iterator[Frame | Fault]:
    """Everything that a source gives when it is polled, and woken for it."""
    woken = threading.Event()
    source.notify(woken.set)
    with source, suppress(SourceLost):
        while not source.ended:
            woken.clear()
            while (item := source.poll()) is not None:
                yield item
            assert source.ended or woken.wait(LONG)


def test_polling_gives_every_frame_and_wakes_who_waits(case: Case):
    source = case.finite()
    items = list(polled(source))
    indices = [item.index for item in items]
    assert indices == sorted(set(indices))
    assert len(items) + source.dropped == indices[-1] + 1 == FRAMES
    assert [item.dropped for item in items if isinstance(item, Frame)] == sorted(
        item.dropped for item in items if isinstance(item, Frame)
    )
    assert all(item.dropped <= source.dropped for item in items if isinstance(item, Frame))


def test_a_frame_counts_those_dropped_before_it(case: Case):
    for items in (list(polled(case.finite())), list(polled(case.finite()))):
        for place, item in enumerate(items):
            assert isinstance(item, Frame)
            assert item.dropped == item.index - place


def test_close_wakes_who_polls(case: Case):
    source, woken = case.endless(), threading.Event()
    source.notify(woken.set)
    with source:
        threading.Timer(0.05, source.close).start()
        while not source.ended:
            woken.clear()
            source.poll()
            assert source.ended or woken.wait(LONG)


def test_polling_needs_the_with_block(case: Case):
    with pytest.raises(RuntimeError, match="with"):
        case.finite().poll()


def test_iterating_needs_the_with_block(case: Case):
    source = case.finite()
    with pytest.raises(RuntimeError, match="with"):
        iter(source)


def test_a_fake_raises_the_error_of_its_script_after_the_frames_before():
    lost = SourceLost("frames", "none", "check the cable")
    with FakeSource([IMAGE, IMAGE, lost, IMAGE]) as source:
        items = iter(source)
        assert [next(items).index, next(items).index] == [0, 1]
        with pytest.raises(SourceLost) as caught:
            next(items)
    assert caught.value is lost
