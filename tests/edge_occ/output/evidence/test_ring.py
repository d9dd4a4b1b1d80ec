"""The ring: bytes, age, what is counted, what is removed and what never is."""

import os
import shutil
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_occ.common.clock import ManualClock
from edge_occ.common.lock import Locked
from edge_occ.output.evidence.ring import EvidenceRing

MAX_BYTES, MAX_AGE = 100, timedelta(days=10)
ZERO = datetime(2025, 6, 1, tzinfo=timezone.utc)


def plenty(folder):
    return 10**12


def event_at(moment, name="a"):
    return f"{moment:%Y-%m-%d/%H%M%S}.{moment.microsecond // 1000:03}Z-{name}"


class Naive:
    """The ring on a list of ``[start, path, {name: bytes}]``."""

    def __init__(self):
        self.events = []

    def total(self):
        return sum(sum(pieces.values()) for _, _, pieces in self.events)

    def drop_old(self, now):
        self.events = [event for event in self.events if event[0] >= now - MAX_AGE]

    def drop_for(self, size, keep, now, limit=MAX_BYTES):
        while self.total() + size > limit:
            others = [event for event in self.events if event[1] != keep]
            future = [event for event in others if event[0] > now]
            oldest = min(future or others, key=lambda event: event[1])
            self.events.remove(oldest)

    def add(self, start, path, name, size, now):
        self.drop_old(now)
        own = [pieces for _, other, pieces in self.events if other == path]
        if size + sum(sum(pieces.values()) for pieces in own) > MAX_BYTES:
            return False
        self.drop_for(size, path, now)
        if not own:
            self.events.append([start, path, {}])
            own = [self.events[-1][2]]
        own[0][name] = size
        return True


class RingMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.camera = self.folder / "left"
        self.clock = ManualClock(ZERO)
        self.naive = Naive()
        self.count = 0
        self.latest: Any = None
        self.foreign = {}

    @initialize()
    def open(self):
        self.ring = EvidenceRing(self.camera, MAX_BYTES, MAX_AGE, self.clock, plenty)
        self.ring.__enter__()

    def add(self, name, size, folder):
        start, path = self.latest
        expected = self.naive.add(start, path, name, size, self.clock.now())
        try:
            if folder:
                self.ring.add_folder(path, name, {"a": b"x" * (size // 2), "b": b"x" * (size - size // 2)})
            else:
                self.ring.add_file(path, name, b"x" * size)
            added = True
        except OSError:
            added = False
        assert added == expected

    @rule(size=st.integers(1, 110))
    def start(self, size):
        self.count += 1
        now = self.clock.now()
        self.latest = (now, event_at(now, f"event{self.count}"))
        self.add("start-000001", size, True)

    @precondition(lambda self: self.latest is not None)
    @rule(size=st.integers(0, 60))
    def peak(self, size):
        self.count += 1
        self.add(f"peak-{self.count:06}", size, True)

    @precondition(lambda self: self.latest is not None)
    @rule(size=st.integers(0, 30))
    def end(self, size):
        present = [pieces for _, path, pieces in self.naive.events if path == self.latest[1]]
        if not (present and "end.json" in present[0]):
            self.add("end.json", size, False)

    @precondition(lambda self: self.naive.events)
    @rule(data=st.data())
    def remove_peaks(self, data):
        _, path, pieces = data.draw(st.sampled_from(self.naive.events))
        assert sorted(self.ring.names(path)) == sorted(pieces)
        peaks = [name for name in pieces if name.startswith("peak-")]
        # A store removes former peaks only, so that something is left of an event.
        for name in peaks[:-1]:
            self.ring.remove(path, name)
            del pieces[name]

    @rule(hours=st.integers(0, 150))
    def wait(self, hours):
        self.clock.advance(hours * 3600 + 1)

    @rule(days=st.integers(-40, 40))
    def set_clock(self, days):
        self.clock = ManualClock(self.clock.now() + timedelta(days=days, seconds=1))
        self.restart()

    @rule()
    def expire(self):
        self.ring.expire()
        self.naive.drop_old(self.clock.now())

    @rule(
        name=st.sampled_from(
            ["notes.txt", "2025-06-01/notes.txt", "2025-06-01/other/a", "other/a", ".hidden", "a.part"]
        )
    )
    def foreign_file(self, name):
        path = self.camera / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("foreign")
        self.foreign[path] = "foreign"

    @rule()
    def leftovers_of_a_kill(self):
        (self.camera / ".0123456789ab.part").mkdir(exist_ok=True)
        (self.camera / ".0123456789ab.part" / "frame.png").write_bytes(b"x" * 50)
        (self.camera / ".ba9876543210.part").write_bytes(b"x" * 50)
        (self.camera / event_at(ZERO, "begun")).mkdir(parents=True, exist_ok=True)
        self.restart()

    @rule()
    def restart(self):
        self.ring.__exit__(None, None, None)
        self.open()
        self.naive.drop_old(self.clock.now())

    @invariant()
    def the_disk_is_as_the_model(self):
        on_disk = {}
        for piece in self.camera.glob("[0-9]*/[0-9]*/*"):
            files = [piece] if piece.is_file() else list(piece.iterdir())
            event = on_disk.setdefault(str(piece.parent.relative_to(self.camera)), {})
            event[piece.name] = sum(path.stat().st_size for path in files)
        assert on_disk == {path: pieces for _, path, pieces in self.naive.events}
        assert self.ring.total_bytes == self.naive.total() <= MAX_BYTES
        assert set(self.ring.events) == set(on_disk)
        assert all(path.read_text() == text for path, text in self.foreign.items())
        assert not [path for path in self.camera.iterdir() if path.name.endswith(".part") and path.name != "a.part"]

    def teardown(self):
        self.ring.__exit__(None, None, None)
        shutil.rmtree(self.folder)


TestRing = RingMachine.TestCase
TestRing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.fixture
def clock():
    return ManualClock(ZERO)


def opened(folder, clock, max_bytes=MAX_BYTES, room=plenty):
    return EvidenceRing(folder, max_bytes, MAX_AGE, clock, room)


def fill(ring, clock, count=5, size=20):
    for number in range(count):
        ring.add_folder(event_at(clock.now(), f"e{number}"), "start-000001", {"frame.png": b"x" * size})
        clock.advance(60)


def test_a_smaller_limit_holds_from_the_next_start_on(tmp_path, clock):
    with opened(tmp_path, clock) as ring:
        fill(ring, clock)
        assert ring.total_bytes == 100
    with opened(tmp_path, clock, 50) as ring:
        assert [event[-2:] for event in ring.events] == ["e3", "e4"]


def test_evidence_from_the_future_goes_first_and_in_order(tmp_path, clock):
    """A device without a clock of its own begins in some year, until the network tells the time."""
    with opened(tmp_path, clock) as ring:
        fill(ring, clock, 4)
    with opened(tmp_path, ManualClock(ZERO - timedelta(days=300))) as ring:
        now = event_at(ZERO - timedelta(days=300), "now")
        ring.add_folder(now, "start-000001", {"frame.png": b"x" * 50})
        assert [event.rpartition("-")[2] for event in ring.events] == ["e2", "e3", "now"]


def test_an_event_that_is_too_large_removes_nothing(tmp_path, clock):
    with opened(tmp_path, clock) as ring:
        fill(ring, clock)
        with pytest.raises(OSError, match=r"evidence\.max_mb"):
            ring.add_folder(event_at(clock.now()), "start-000001", {"frame.png": b"x" * 101})
        assert len(ring.events) == 5


def test_an_event_under_way_is_not_removed_for_itself(tmp_path, clock):
    with opened(tmp_path, clock) as ring:
        event = event_at(clock.now())
        ring.add_folder(event, "start-000001", {"frame.png": b"x" * 60})
        with pytest.raises(OSError, match=r"evidence\.max_mb"):
            ring.add_folder(event, "peak-000002", {"frame.png": b"x" * 60})
        assert ring.names(event) == ["start-000001"]


def test_files_that_a_person_puts_beside_the_evidence_are_counted_and_go_with_it(tmp_path, clock):
    with opened(tmp_path, clock) as ring:
        fill(ring, clock, 1)
        (event,) = ring.events
    (tmp_path / event / "label.json").write_text("{}")
    with opened(tmp_path, clock) as ring:
        assert ring.total_bytes == 22
        clock.advance(11 * 86_400)
        ring.expire()
        assert ring.total_bytes == 0
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_links_are_not_followed(tmp_path, clock):
    outside = tmp_path / "outside"
    (outside / "102331.482Z-a" / "start-000001").mkdir(parents=True)
    (outside / "102331.482Z-a" / "start-000001" / "frame.png").write_bytes(b"x" * 500)
    camera = tmp_path / "left"
    with opened(camera, clock) as ring:
        fill(ring, clock, 1)
        (event,) = ring.events
    (camera / "2020-01-01").symlink_to(outside)
    (camera / event / "link").symlink_to(outside)
    (camera / event_at(ZERO, "link")).symlink_to(outside / "102331.482Z-a")
    with opened(camera, clock) as ring:
        assert ring.events == [event]
        clock.advance(11 * 86_400)
        ring.expire()
    assert (outside / "102331.482Z-a" / "start-000001" / "frame.png").stat().st_size == 500


def test_a_full_disk_is_an_error_before_anything_is_removed(tmp_path, clock):
    free = [1000]
    with opened(tmp_path, clock, room=lambda folder: free[0]) as ring:
        fill(ring, clock, 2)
        free[0] = 0
        with pytest.raises(OSError, match="disk is full"):
            ring.require_room()
        free[0] = 19
        ring.require_room()
        with pytest.raises(OSError, match="disk is full"):
            ring.add_folder(event_at(clock.now()), "start-000001", {"frame.png": b"x" * 20})
        free[0] = 20
        ring.add_folder(event_at(clock.now()), "start-000001", {"frame.png": b"x" * 20})
        assert len(ring.events) == 3


def test_a_folder_has_one_ring(tmp_path, clock):
    with opened(tmp_path, clock), pytest.raises(Locked, match=str(os.getpid())), opened(tmp_path, clock):
        pytest.fail("two rings")
    with opened(tmp_path, clock):
        pass
