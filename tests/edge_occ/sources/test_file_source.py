"""Frames from files, lossless or in real time, whatever the files are."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from playback import number_of

from edge_occ.common.errors import InputError
from edge_occ.sources.files import FileSource
from edge_occ.sources.pictures import Pictures
from edge_occ.sources.videos import Video

LONG = 10.0


class FakeReel:
    """Pictures made on request; remembers how many were asked for."""

    def __init__(self, count, rate=None):
        self.count, self.rate, self.shortage, self.asked = count, rate, None, 0

    def __iter__(self):
        for number in range(self.count):
            self.asked += 1
            yield f"{number}", np.full((2, 2, 3), number % 256, np.uint8)


def test_a_folder_is_played_in_order_and_without_loss(tmp_path, write_pictures):
    with FileSource(Pictures(str(write_pictures(tmp_path / "parts", 12)))) as source:
        frames = list(source)
    assert [f.name for f in frames] == [f"img{n}.png" for n in range(12)]
    assert [f.index for f in frames] == [number_of(f) for f in frames] == list(range(12))
    assert (source.live, source.dropped) == (False, 0)


def test_a_video_is_played_in_order_and_without_loss(tmp_path, write_video):
    with FileSource(Video(str(write_video(tmp_path / "line.avi", 30)))) as source:
        frames = list(source)
    assert [f.index for f in frames] == [number_of(f) for f in frames] == list(range(30))
    assert {f.name for f in frames} == {"line.avi"}
    assert frames[0].image.shape == (24, 32, 3)
    assert frames[0].image.dtype == np.uint8
    assert source.dropped == 0


def test_a_slow_consumer_loses_nothing_and_the_reader_stays_few_frames_ahead():
    reel = FakeReel(200)
    seen = []
    with FileSource(reel) as source:
        for frame in source:
            seen.append(frame.index)
            # Four in the queue, one in the reader's hand.
            assert reel.asked - len(seen) <= 5
    assert seen == list(range(200))


def test_the_reader_works_while_a_frame_is_scored():
    fourth = threading.Event()

    class Watched(FakeReel):
        def __iter__(self):
            for item in super().__iter__():
                if self.asked == 4:
                    fourth.set()
                yield item

    with FileSource(Watched(10)) as source:
        next(iter(source))
        assert fourth.wait(LONG), "three more are read while nobody asks"


def test_times_are_those_of_reading():
    before, before_monotonic = datetime.now(timezone.utc), time.monotonic()
    with FileSource(FakeReel(5)) as source:
        frames = list(source)
    after, after_monotonic = datetime.now(timezone.utc), time.monotonic()
    assert [f.captured_at.utcoffset() for f in frames] == [timedelta(0)] * 5
    moments = [before, *(f.captured_at for f in frames), after]
    assert moments == sorted(moments)
    seconds = [before_monotonic, *(f.captured_monotonic for f in frames), after_monotonic]
    assert seconds == sorted(seconds)


def test_the_moment_of_capture_lies_before_decoding():
    started, decoded = [], []

    class Watched(FakeReel):
        def __iter__(self):
            for item in super().__iter__():
                started.append(time.monotonic())
                decoded.append(time.monotonic())
                yield item

    with FileSource(Watched(3)) as source:
        frames = list(source)
    assert len(frames) == 3
    assert all(f.captured_monotonic <= moment for f, moment in zip(frames, started, strict=True))
    assert all(f.ready_monotonic >= moment for f, moment in zip(frames, decoded, strict=True))


def test_a_rate_spaces_the_frames():
    before = time.monotonic()
    with FileSource(FakeReel(6), fps=100) as source:
        moments = [f.captured_monotonic for f in source]
    assert len(moments) == 6
    assert all(moment >= before + n / 100 for n, moment in enumerate(moments))


def test_a_loop_starts_again(tmp_path, write_video):
    with FileSource(Video(str(write_video(tmp_path / "line.avi", 3))), loop=True) as source:
        frames = list(itertools.islice(source, 8))
    assert [number_of(f) for f in frames] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [f.index for f in frames] == list(range(8))


@pytest.mark.parametrize("fps", [None, 0.01])
def test_leaving_early_ends_the_thread_at_once(fps):
    """A reader that waits for its moment, or for room, must wake; the watch for threads left behind finds it if not."""
    with FileSource(FakeReel(10**9), fps=fps, loop=True) as source:
        for _ in source:
            break


def test_an_exception_in_the_loop_ends_the_thread():
    def fail_at_the_first_frame():
        with FileSource(FakeReel(10**9)) as source:
            for _ in source:
                raise KeyError

    with pytest.raises(KeyError):
        fail_at_the_first_frame()


def test_entering_and_leaving_without_reading():
    with FileSource(FakeReel(10**9)):
        pass


def test_an_unexpected_error_of_the_reader_reaches_the_line():
    class Broken(FakeReel):
        def __iter__(self):
            yield from itertools.islice(super().__iter__(), 2)
            raise ZeroDivisionError

    seen = []
    with FileSource(Broken(5)) as source, pytest.raises(ZeroDivisionError):
        seen.extend(frame.index for frame in source)
    assert seen == [0, 1]


def test_live_files_drop_frames_while_the_reader_is_busy():
    """The consumer takes one frame, waits until many more were played, and gets the latest one."""
    taken, twentieth = threading.Event(), threading.Event()

    class Watched(FakeReel):
        def __iter__(self):
            for item in super().__iter__():
                if self.asked == 2:
                    taken.wait(LONG)
                if self.asked == 20:
                    twentieth.set()
                yield item

    with FileSource(Watched(30), fps=1000, live=True) as source:
        assert source.live
        iterator = iter(source)
        first = next(iterator)
        taken.set()
        assert twentieth.wait(LONG)
        rest = list(iterator)
    indices = [first.index, *(f.index for f in rest)]
    assert first.index == 0
    assert rest[0].index >= 18
    assert rest[-1].index == 29, "the last frame is not lost, and the source ends at the end of its file"
    assert indices == sorted(set(indices))
    assert len(indices) + source.dropped == 30


def test_live_videos_play_at_their_own_rate(tmp_path, write_video):
    reel = Video(str(write_video(tmp_path / "line.avi", 5, fps=50.0)))
    assert reel.rate == 50
    before = time.monotonic()
    with FileSource(reel, live=True) as source:
        frames = list(source)
    assert frames[-1].index == 4
    assert all(f.captured_monotonic >= before + f.index / 50 for f in frames)


def test_live_pictures_need_a_rate(tmp_path, write_pictures):
    reel = Pictures(str(write_pictures(tmp_path / "parts", 1)))
    with pytest.raises(InputError, match="live=1 without fps; add &fps=10"):
        FileSource(reel, live=True)
    FileSource(reel, live=True, fps=5)
