"""The queue of evidence."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import inspection

from edge_occ.inspection.events import Phase
from edge_occ.inspection.evidence import EvidencePaths
from edge_occ.output.evidence.waiting import Piece, WaitingEvidence

START, UPDATE, END = Phase


def piece(event, phase, index=0, size=32):
    shown = None if phase is END else inspection(index, 2.0, event=phase, size=size)
    return Piece(event, phase, EvidencePaths(), b"", shown)


def drain(waiting):
    waiting.close()
    return [(taken.event, taken.phase) for taken in iter(lambda: waiting.take(0), None)]


def test_pieces_come_in_order():
    waiting = WaitingEvidence()
    for event, phase in [("a", START), ("a", UPDATE), ("a", END), ("b", START)]:
        assert waiting.put(piece(event, phase)) == 0
    assert drain(waiting) == [("a", START), ("a", UPDATE), ("a", END), ("b", START)]


def test_a_new_peak_replaces_the_one_that_waits_and_nothing_is_lost():
    waiting = WaitingEvidence(max_pictures=2)
    waiting.put(piece("a", START))
    assert sum(waiting.put(piece("a", UPDATE, index)) for index in range(1, 9)) == 0
    waiting.close()
    first, second = waiting.take(0), waiting.take(0)
    assert first is not None
    assert second is not None
    assert second.inspection is not None
    assert (first.phase, second.inspection.frame.index) == (START, 8)


def test_a_full_queue_keeps_starts_rather_than_peaks_and_ends_have_no_picture():
    waiting = WaitingEvidence(max_pictures=3)
    for event, phase in [("a", START), ("a", UPDATE), ("a", END), ("b", START), ("b", END)]:
        assert waiting.put(piece(event, phase)) == 0
    assert waiting.put(piece("c", START)) == 1, "the peak of a"
    assert waiting.put(piece("c", UPDATE)) == 1, "itself"
    assert waiting.put(piece("c", END)) == 0
    assert waiting.put(piece("d", START)) == 1, "itself"
    assert drain(waiting) == [("a", START), ("a", END), ("b", START), ("b", END), ("c", START), ("c", END)]


def test_frames_are_limited_by_their_bytes_but_one_of_any_size_is_taken():
    waiting = WaitingEvidence(max_pixel_bytes=10_000)
    assert waiting.put(piece("a", START, size=200)) == 0
    assert waiting.put(piece("b", START, size=8)) == 1
    assert waiting.put(piece("a", END)) == 0
    assert drain(waiting) == [("a", START), ("a", END)]


def test_ends_are_limited_too():
    waiting = WaitingEvidence(max_pieces=3)
    assert [waiting.put(piece(str(number), END)) for number in range(5)] == [0, 0, 0, 1, 1]
    assert waiting.drop_all() == 3
    assert drain(waiting) == []


def test_a_taker_waits_and_is_woken_by_a_piece_and_by_the_end():
    waiting, taken = WaitingEvidence(), []
    assert waiting.take(0) is None

    def take_all():
        while (found := waiting.take(60)) is not None:
            taken.append(found.event)

    thread = threading.Thread(target=take_all)
    thread.start()
    waiting.put(piece("a", START))
    waiting.close()
    thread.join(10)
    assert not thread.is_alive()
    assert taken == ["a"]


class Naive:
    """The same rules on a plain list of (event, phase), all frames of one size."""

    def __init__(self, pictures, pieces):
        self.pictures, self.pieces, self.list = pictures, pieces, []

    def full(self, phase):
        pictures = sum(other is not END for _, other in self.list)
        return len(self.list) >= self.pieces or (phase is not END and pictures >= max(self.pictures, 1))

    def put(self, event, phase):
        if phase is UPDATE and (event, UPDATE) in self.list:
            self.list.remove((event, UPDATE))
        peaks = [item for item in self.list if item[1] is UPDATE]
        if self.full(phase) and peaks and phase is not UPDATE:
            self.list.remove(peaks[0])
            self.list.append((event, phase))
            return 1
        if self.full(phase):
            return 1
        self.list.append((event, phase))
        return 0


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([START, UPDATE, END, None])), max_size=40),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_it_does_what_a_plain_list_does(steps, pictures, pieces):
    waiting, naive = WaitingEvidence(pictures, 10**9, pieces), Naive(pictures, pieces)
    for event, phase in steps:
        if phase is None:
            taken = waiting.take(0)
            assert (taken and (taken.event, taken.phase)) == (naive.list.pop(0) if naive.list else None)
        else:
            assert waiting.put(piece(event, phase)) == naive.put(event, phase)
    assert drain(waiting) == naive.list


@pytest.mark.parametrize("phase", [START, UPDATE])
def test_pixels_are_counted(phase):
    shown = piece("a", phase)
    assert shown.inspection is not None
    wide = replace(shown.inspection, frame=replace(shown.inspection.frame, image=np.zeros((4, 9, 3), np.uint8)))
    assert replace(shown, inspection=wide).pixel_bytes == 4 * 9 * 3
    assert piece("a", END).pixel_bytes == 0
