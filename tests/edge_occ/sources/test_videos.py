"""Video files as sources, some of them damaged, cut off or mislabelled."""

from __future__ import annotations

import itertools
import re
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playback import faults, frames_of, number_of, play

import edge_occ.sources.videos as videos_module
from edge_occ.common.errors import InputError, SourceLost
from edge_occ.sources.faults import Reason
from edge_occ.sources.files import FileSource
from edge_occ.sources.videos import Video


def test_a_missing_video_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no file .*no\.mp4"):
        Video(str(tmp_path / "no.mp4"))


def test_a_file_that_is_no_video_is_refused_quietly(tmp_path):
    """In a process of its own, as FFmpeg is silenced once and for all when it is first used."""
    (tmp_path / "bad.mp4").write_bytes(b"x" * 1000)
    code = (
        "import sys\nfrom edge_occ.common.errors import InputError\nfrom edge_occ.sources.videos import Video\n"
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
    """A video that OpenCV opens is refused by its size; above 268 million pixels OpenCV opens nothing."""
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
        monkeypatch.setattr(videos_module, "open_video", lambda path: next(opened))
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
        patch.setattr(videos_module, "open_video", lambda _path: Script(steps, count))
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
def test_a_header_without_a_count_is_no_loss(play_script, count):
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

    monkeypatch.setattr(videos_module, "open_video", lambda path: Empty())
    path = write_video(tmp_path / "line.avi", 1)
    with FileSource(Video(str(path)), loop=loop) as source, pytest.raises(InputError, match="none that can be read"):
        list(source)


def test_a_video_is_released_when_left_early(tmp_path, write_video, monkeypatch):
    opened, released = [], []
    original = videos_module.open_video

    class Counting:
        def __init__(self, path):
            opened.append(path)
            self.capture = original(path)

        def release(self):
            released.append(1)
            self.capture.release()

        def __getattr__(self, name):
            return getattr(self.capture, name)

    monkeypatch.setattr(videos_module, "open_video", Counting)
    with FileSource(Video(str(write_video(tmp_path / "line.avi", 50)))) as source:
        next(iter(source))
    assert len(opened) == len(released) == 2


@pytest.mark.data
def test_real_video(shared_data):
    video = Video(str(shared_data / "videos" / "bottle-detection.mp4"))
    assert video.rate == pytest.approx(29.83, abs=0.01)
    with FileSource(video) as source:
        frames = list(itertools.islice(source, 50))
    assert [f.index for f in frames] == list(range(50))
    assert frames[0].image.shape[2] == 3
    assert frames[0].image.std() > 5
