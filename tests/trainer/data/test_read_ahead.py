"""Reading ahead within bounds."""

import threading
from pathlib import Path

import numpy as np
import pytest

from trainer.data.read_ahead import area, read_ahead, same_size

LONG = 10.0


def paths(count):
    return [Path(str(number)) for number in range(count)]


def test_results_come_in_order():
    assert list(read_ahead(lambda path: int(path.name), paths(50), lambda _: 1)) == list(range(50))
    assert list(read_ahead(lambda path: int(path.name), [], lambda _: 1)) == []


def test_large_pictures_are_read_one_at_a_time():
    """The next one is begun when the one before is no longer wanted."""
    begun = []

    def read(path):
        begun.append(path.name)
        return int(path.name)

    counts = [(number, len(begun)) for number in read_ahead(read, paths(10), lambda _: 100_000_000)]
    assert counts == [(number, number + 1) for number in range(10)]


def test_small_pictures_are_read_by_several_threads():
    """Two reads that wait for each other can only end together."""
    together = threading.Barrier(2)

    def read(path):
        if path.name in ("1", "2"):
            together.wait(LONG)
        return path.name

    assert list(read_ahead(read, paths(4), lambda _: 10)) == ["0", "1", "2", "3"]


def test_an_error_comes_in_its_place():
    def read(path):
        if path.name == "3":
            raise KeyError(path.name)
        return path.name

    results = read_ahead(read, paths(9), lambda _: 1)
    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(KeyError):
        next(results)


@pytest.mark.parametrize(("pixels", "lengths"), [(10**9, [4, 4, 2]), (250, [2] * 5), (100, [1] * 10), (1, [1] * 10)])
def test_batches_hold_so_many_images_and_so_many_pixels(pixels, lengths):
    images = [np.full((10, 10, 3), number, np.uint8) for number in range(10)]
    batches = list(same_size(iter(images), 4, pixels))
    assert [len(batch) for batch in batches] == lengths
    assert [int(image[0, 0, 0]) for batch in batches for image in batch] == list(range(10))


def test_a_batch_has_one_size():
    images = [np.zeros((side, 8, 3), np.uint8) for side in (5, 5, 6, 5)]
    assert [[area(image) for image in batch] for batch in same_size(iter(images), 16, 10**9)] == [[40, 40], [48], [40]]
