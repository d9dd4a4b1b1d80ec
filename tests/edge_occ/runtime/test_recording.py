"""Training pictures from sources: what is written, what is refused, and what happens when it cannot be written."""

import errno
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np
import pytest

from edge_occ.common.errors import InputError
from edge_occ.inspection.guards import GuardsConfig
from edge_occ.runtime import recording
from edge_occ.runtime.recording import PictureRecorder, Recording
from edge_occ.sources.camera import CameraSource, Patience
from edge_occ.sources.faults import Fault, Reason, Unscored
from edge_occ.sources.frame import Frame

BEGIN = datetime(2026, 1, 2, 3, 4, 5, 678, timezone.utc)


def part(seed):
    return np.random.default_rng(seed).integers(40, 200, (24, 32, 3)).astype(np.uint8)


class Shown:
    """A source that gives these images, half a second apart."""

    live, dropped = False, 0

    def __init__(self, *images, name="x.png"):
        self.images, self.name, self.given = images, name, 0

    def __iter__(self):
        for index, image in enumerate(self.images):
            self.given += 1
            at = BEGIN + timedelta(seconds=index / 2)
            if image is None:
                yield Fault(index, at, Unscored(Reason.UNREADABLE, "damaged"), self.name)
            else:
                yield Frame(index, at, 100 + index / 2, image, self.name)


def record(folder, source, pictures=None, every=0.0, **guards):
    told = []
    recorder = PictureRecorder(folder, every, GuardsConfig(**guards), told.append)
    recorder.run(source, pictures)
    return recorder.recording, told


def test_frames_are_written_without_loss_under_their_time_and_number(tmp_path):
    images = [part(seed) for seed in range(3)]
    done, told = record(tmp_path / "new" / "parts", Shown(*images))
    written = sorted((tmp_path / "new" / "parts").iterdir())
    assert [path.name for path in written] == [
        "20260102T030405.000678Z-000000.png",
        "20260102T030405.500678Z-000001.png",
        "20260102T030406.000678Z-000002.png",
    ]
    for path, image in zip(written, images, strict=True):
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), image)
    assert done == Recording(3, {})
    assert told == []


def test_it_stops_after_as_many_pictures_as_asked(tmp_path):
    source = Shown(*(part(seed) for seed in range(10)))
    done, _ = record(tmp_path, source, pictures=4)
    assert (done.pictures, source.given, len(list(tmp_path.iterdir()))) == (4, 4, 4)


def test_pictures_are_as_far_apart_as_asked(tmp_path):
    record(tmp_path, Shown(*(part(seed) for seed in range(10))), every=1.4)
    assert [path.stem[-6:] for path in sorted(tmp_path.iterdir())] == ["000000", "000003", "000006", "000009"]


def test_nothing_is_ever_overwritten(tmp_path):
    record(tmp_path, Shown(part(0)))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    record(tmp_path, Shown(part(1)))
    record(tmp_path, Shown(part(2)))
    assert len(list(tmp_path.iterdir())) == 3
    assert all(path.read_bytes() == content for path, content in before.items())


def test_frames_that_show_no_part_are_refused_counted_and_reported(tmp_path):
    dark = np.random.default_rng(0).integers(0, 3, (24, 32, 3)).astype(np.uint8)
    blue = np.full((24, 32, 3), (255, 0, 0), np.uint8)
    done, told = record(tmp_path, Shown(part(0), dark, None, 255 - dark, blue, np.zeros((4, 4), np.uint8), part(1)))
    assert done == Recording(2, {"black": 1, "unreadable": 1, "white": 1, "uniform": 1, "frame": 1})
    assert len(told) == 5
    assert told[0].startswith("refused  frame 1  black: mean 1.0 ")


def test_a_frozen_camera_gives_no_more_pictures(tmp_path):
    frozen = [part(1)] * 9
    done, _ = record(tmp_path, Shown(part(0), *frozen, part(2), name=None), frozen_frames=3, frozen_seconds=1)
    assert done == Recording(3, {"repeated": 2, "frozen": 6})


def test_a_recording_of_nothing_but_faults_is_an_error(tmp_path):
    with pytest.raises(InputError, match="2 black"):
        record(tmp_path, Shown(*[np.random.default_rng(0).integers(0, 3, (24, 32, 3)).astype(np.uint8)] * 2))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_it_and_leaves_whole_pictures_alone(tmp_path, monkeypatch):
    write, calls = recording.atomic_write, []

    def full(path):
        calls.append(path)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path)

    monkeypatch.setattr(recording, "atomic_write", full)
    with pytest.raises(InputError) as error:
        record(tmp_path, Shown(*(part(seed) for seed in range(5))))
    assert error.value.found == "No space left on device, after 2 pictures"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_in_the_place_of_the_folder_is_reported_before_anything_is_opened(tmp_path):
    (tmp_path / "parts").write_text("mine")
    with pytest.raises(InputError, match="File exists"):
        PictureRecorder(tmp_path / "parts", 0, GuardsConfig(), print)


class Capture:
    """A camera of so many frames."""

    def __init__(self, count):
        self.images = [part(seed) for seed in range(count)]

    def isOpened(self):
        return True

    def read(self):
        return (True, self.images.pop(0)) if self.images else (False, None)

    def get(self, prop):
        return 0.0

    def set(self, prop, value):
        return True

    def release(self):
        pass


def test_through_a_camera(tmp_path):
    """The latest frame alone is kept, so that how many there are is a matter of time; all are of that camera."""
    camera = CameraSource(
        "/dev/video0", patience=Patience(lost=0), open_capture=lambda _: Capture(5), identify=lambda _: None
    )
    with camera:
        done, _ = record(tmp_path, camera, pictures=1)
    (path,) = tmp_path.iterdir()
    assert any(np.array_equal(cv2.imread(str(path)), image) for image in Capture(5).images)
    assert done.pictures == 1
