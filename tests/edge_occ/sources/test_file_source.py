from __future__ import annotations

import itertools
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge_occ.sources.files as files_module
from edge_occ.common.errors import InputError, SourceLost, UserError
from edge_occ.sources.faults import Fault, Reason
from edge_occ.sources.files import FileSource, Pictures, Video
from edge_occ.sources.frame import Frame
from edge_occ.sources.uri import open_source

LONG = 10.0


class FakeReel:
    """Pictures made on request; remembers how many were asked for."""

    def __init__(self, count, rate=None):
        self.count, self.rate, self.shortage, self.asked = count, rate, None, 0

    def __iter__(self):
        for number in range(self.count):
            self.asked += 1
            yield f"{number}", np.full((2, 2, 3), number % 256, np.uint8)


def number_of(frame):
    return int(frame.image[0, 0, 0])


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
    assert all(f.captured_at.utcoffset() == timedelta(0) for f in frames)
    moments = [before, *(f.captured_at for f in frames), after]
    assert moments == sorted(moments)
    seconds = [before_monotonic, *(f.captured_monotonic for f in frames), after_monotonic]
    assert seconds == sorted(seconds)


def test_the_moment_of_capture_lies_before_decoding():
    started = []

    class Watched(FakeReel):
        def __iter__(self):
            for item in super().__iter__():
                started.append(time.monotonic())
                yield item

    with FileSource(Watched(3)) as source:
        frames = list(source)
    assert all(f.captured_monotonic <= moment for f, moment in zip(frames, started, strict=True))


def test_a_rate_spaces_the_frames():
    before = time.monotonic()
    with FileSource(FakeReel(6), fps=100) as source:
        moments = [f.captured_monotonic for f in source]
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


def play(source):
    """Everything up to the end, and the error that it ended with, if any."""
    items = []
    try:
        with source:
            items.extend(source)
    except UserError as error:
        return items, error
    return items, None


def faults(items):
    return [item for item in items if isinstance(item, Fault)]


def frames_of(items):
    return [item for item in items if isinstance(item, Frame)]


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
    """When the lamp fails, its frames must be scored; taken by itself, such a picture looks like 12-bit data."""
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


def test_a_missing_video_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no file .*no\.mp4"):
        Video(str(tmp_path / "no.mp4"))


def test_a_file_that_is_no_video_is_refused_quietly(tmp_path):
    """In a process of its own, as FFmpeg is silenced once and for all when it is first used."""
    (tmp_path / "bad.mp4").write_bytes(b"x" * 1000)
    code = (
        "import sys\nfrom edge_occ.common.errors import InputError\nfrom edge_occ.sources.files import Video\n"
        "try:\n    Video(sys.argv[1])\nexcept InputError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "bad.mp4"], capture_output=True, text=True)
    assert "cannot open; convert it" in done.stdout
    has_log_level = [int(part) for part in cv2.__version__.split(".")[:3]] >= [4, 5, 5]
    assert done.stderr == "" or not has_log_level, "older OpenCV cannot silence FFmpeg"


def claiming(path, width, height):
    """The motion-JPEG video with another size in its headers and in those of its frames."""
    data = bytearray(path.read_bytes())
    for chunk, place in ((b"avih", 40), (b"strf", 12)):
        struct.pack_into("<II", data, data.find(chunk) + place, width, height)
    for frame in re.finditer(rb"\xff\xc0\x00\x11\x08", bytes(data)):
        struct.pack_into(">HH", data, frame.end(), height, width)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("side", "words"), [(16_000, "at most 200 million pixels; found .*16000x16000"), (60_000, "that can be read")]
)
def test_a_video_that_claims_too_many_pixels_is_refused(tmp_path, side, words):
    """What OpenCV opens is refused by the size it tells; above 268 million pixels it opens nothing itself."""
    path = tmp_path / "bomb.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    assert len(list(Video(str(path)))) == 3
    claiming(path, side, side)
    with pytest.raises(InputError, match=words):
        list(Video(str(path)))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_frames_of_a_video_stay_as_they_are_stored(tmp_path, degrees):
    """A phone notes how it was held as a matrix in the header of the track; the frames are those of the sensor."""
    path = tmp_path / "phone.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for number in range(3):
        frame = np.full((48, 64, 3), 80 * number, np.uint8)
        frame[:20, :30] = 255
        writer.write(frame)
    writer.release()
    stored = [frame for _, frame in Video(str(path))]
    data = bytearray(path.read_bytes())
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    for place, value in zip((0, 4, 12, 16), matrix, strict=True):
        struct.pack_into(">i", data, data.find(b"tkhd") + 44 + place, 65536 * value)
    path.write_bytes(data)
    assert cv2.VideoCapture(str(path)).read()[1].tolist() != stored[0].tolist(), "OpenCV must understand the matrix"
    found = [frame for _, frame in Video(str(path))]
    np.testing.assert_array_equal(found, stored)


class Script:
    """A capture that plays a list: a number is a frame, ``None`` a failed read; afterwards every read fails.

    ``position`` gives the time of a frame in seconds, by its number.
    """

    def __init__(self, steps, count, rate=25.0, position=lambda number: number / 25):
        self.steps, self.at, self.position = iter(steps), 0.0, position
        self.facts = {cv2.CAP_PROP_FPS: rate, cv2.CAP_PROP_FRAME_COUNT: count}
        self.failed = 0

    def isOpened(self):
        return True

    def get(self, prop):
        return self.at * 1000 if prop == cv2.CAP_PROP_POS_MSEC else self.facts.get(prop, 0.0)

    def read(self):
        number = next(self.steps, None)
        if number is None:
            self.failed += 1
            return False, None
        self.at = self.position(number)
        return True, np.full((2, 2, 3), number, np.uint8)

    def release(self):
        pass


@pytest.fixture
def play_script(tmp_path, monkeypatch):
    """Plays a script as if it were a video file; gives the items, the error and the capture."""

    def run(*arguments, **options):
        captures = [Script(*arguments, **options), Script(*arguments, **options)]
        opened = iter(captures)
        monkeypatch.setattr(files_module, "open_video", lambda path: next(opened))
        path = tmp_path / "line.avi"
        path.touch()
        items, error = play(FileSource(Video(str(path))))
        return items, error, captures[1]

    return run


def test_half_a_video_is_a_lost_source_once_it_was_played(tmp_path, write_video):
    path = write_video(tmp_path / "line.avi", 40, size=(320, 240))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, error = play(FileSource(Video(str(path))))
    numbers = [number_of(f) for f in frames]
    assert 0 < len(numbers) < 40
    assert numbers == list(range(len(numbers)))
    assert isinstance(error, SourceLost)
    assert error.exit_code == 5
    assert error.expected == f"40 frames, as {path} declares"
    assert error.found == f"{len(numbers)} in the file, which is damaged or was cut short"


def test_a_loop_of_half_a_video_warns_once_and_goes_on(tmp_path, write_video, caplog):
    path = write_video(tmp_path / "line.avi", 40, size=(320, 240))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with FileSource(Video(str(path)), loop=True) as source:
        items = list(itertools.islice(source, 100))
    assert not faults(items)
    assert sum("expected 40 frames" in record.message for record in caplog.records) == 1


def test_a_damaged_section_is_skipped_and_reported(play_script):
    steps = [0, 1, None, None, None, 5, 6, None, 8, 9]
    items, error, _ = play_script(steps, count=10)
    assert [number_of(f) for f in frames_of(items)] == [0, 1, 5, 6, 8, 9]
    assert [f.index for f in frames_of(items)] == [0, 1, 5, 6, 8, 9]
    assert [f.index for f in faults(items)] == [2, 3, 4, 7]
    assert {f.reason for f in faults(items)} == {Reason.UNREADABLE}
    assert isinstance(error, SourceLost)
    assert "6 in the file" in error.found


def test_a_whole_video_is_read_once_past_its_end(play_script):
    items, error, capture = play_script(range(10), count=10)
    assert error is None
    assert len(items) == 10
    assert capture.failed == 1


@given(st.lists(st.booleans(), max_size=60), st.none() | st.integers(0, 20))
def test_no_readable_frame_is_left_out(tmp_path_factory, reads, too_high):
    """Of a file whose header says nothing, or at least as many frames as there are."""
    count = 0 if too_high is None else len(reads) + too_high
    steps = [number if readable else None for number, readable in enumerate(reads)]
    readable = [number for number in steps if number is not None]
    path = tmp_path_factory.mktemp("video") / "line.avi"
    path.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files_module, "open_video", lambda _path: Script(steps, count))
        items, error = play(FileSource(Video(str(path))))
    assert [(f.index, number_of(f)) for f in frames_of(items)] == [(number, number) for number in readable]
    if not readable:
        assert isinstance(error, InputError)
    elif count == len(readable):
        assert error is None
    elif len(faults(items)):
        assert isinstance(error, SourceLost) == (count > 0)


def test_a_count_that_was_only_estimated_is_no_loss(play_script, caplog):
    """Matroska gives a duration; if frames were left out while recording, OpenCV's count is too high."""
    items, error, _ = play_script(range(30), count=40, position=lambda number: number * 40 / 30 / 25)
    assert error is None
    assert len(items) == 30
    assert "declares 40 frames and has 30, up to its end" in caplog.text


@pytest.mark.parametrize("count", [0, -1, -192153584101141.0, 1e300, float("nan")])
def test_a_header_without_a_count_promises_nothing(play_script, count):
    items, error, _ = play_script([0, 1, None, 3], count=count)
    assert error is None
    assert [f.index for f in items] == [0, 1, 2, 3]


def test_a_video_that_goes_away_between_two_rounds_is_a_lost_source(tmp_path, write_video):
    path = write_video(tmp_path / "line.avi", 3)
    with FileSource(Video(str(path)), loop=True) as source, pytest.raises(SourceLost):
        for frame in source:
            if frame.index == 2:
                path.unlink()


def test_a_colon_in_a_relative_name_is_no_protocol(tmp_path, write_video, monkeypatch):
    write_video(tmp_path / "line.avi", 2).rename(tmp_path / "10:30.avi")
    monkeypatch.chdir(tmp_path)
    with FileSource(Video("10:30.avi")) as source:
        assert len(list(source)) == 2


@pytest.mark.parametrize("loop", [False, True])
def test_a_video_without_frames_is_an_error(tmp_path, write_video, monkeypatch, loop):
    class Empty:
        def isOpened(self):
            return True

        def get(self, prop):
            return 25.0

        def read(self):
            return False, None

        def release(self):
            pass

    monkeypatch.setattr(files_module, "open_video", lambda path: Empty())
    path = write_video(tmp_path / "line.avi", 1)
    with FileSource(Video(str(path)), loop=loop) as source, pytest.raises(InputError, match="none that can be read"):
        list(source)


def test_a_video_is_released_when_left_early(tmp_path, write_video, monkeypatch):
    opened, released = [], []
    original = files_module.open_video

    class Counting:
        def __init__(self, path):
            opened.append(path)
            self.capture = original(path)

        def release(self):
            released.append(1)
            self.capture.release()

        def __getattr__(self, name):
            return getattr(self.capture, name)

    monkeypatch.setattr(files_module, "open_video", Counting)
    with FileSource(Video(str(write_video(tmp_path / "line.avi", 50)))) as source:
        next(iter(source))
    assert len(opened) == len(released) == 2


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


@pytest.mark.data
def test_real_video(shared_data):
    video = Video(str(shared_data / "videos" / "bottle-detection.mp4"))
    assert video.rate == pytest.approx(29.83, abs=0.01)
    with FileSource(video) as source:
        frames = list(itertools.islice(source, 50))
    assert [f.index for f in frames] == list(range(50))
    assert frames[0].image.shape[2] == 3
    assert frames[0].image.std() > 5
