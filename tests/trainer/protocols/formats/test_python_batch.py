"""CIFAR's Python batches are read, and nothing in them is ever run."""

from contextlib import suppress
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_formats import noise, python2_batch

from edge_occ.common.errors import InputError
from trainer.protocols.formats.python_batch import read_batch

ADVICE = "get the binary format"
DATA = noise(0, 300, 12)
LABELS = [n % 100 for n in range(300)]


def python3_batch(content, protocol):
    return bytes(ForkingPickler.dumps(content, protocol))


def read(folder, content, key="labels"):
    path = folder / "batch"
    path.write_bytes(content)
    return read_batch(path, key, ADVICE)


@pytest.mark.parametrize("key", ["labels", "coarse_labels"])
def test_a_batch_of_python_2(tmp_path, key):
    """300 images: memory numbers of one byte and of four, and a second run of labels would begin after 1,000."""
    data, labels = read(tmp_path, python2_batch(DATA, key, LABELS), key)
    assert data.dtype == labels.dtype == np.uint8
    assert np.array_equal(data, DATA)
    assert labels.tolist() == LABELS


def test_more_labels_than_one_instruction_takes(tmp_path):
    data, labels = read(tmp_path, python2_batch(noise(1, 2500, 3), "labels", [n % 7 for n in range(2500)]))
    assert labels.tolist() == [n % 7 for n in range(2500)]
    assert np.array_equal(data, noise(1, 2500, 3))


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("data", [DATA, np.asfortranarray(DATA)], ids=["by rows", "by columns"])
@pytest.mark.parametrize("binary_keys", [False, True])
def test_the_same_of_python_3(tmp_path, protocol, data, binary_keys):
    batch = {"batch_label": "testing", "labels": LABELS, "data": data, "filenames": ["a.png", "b.png"]}
    batch = {key.encode() if binary_keys else key: value for key, value in batch.items()}
    found, labels = read(tmp_path, python3_batch(batch, protocol))
    assert np.array_equal(found, DATA)
    assert labels.tolist() == LABELS


@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 2**32), st.data())
def test_any_batch(tmp_path_factory, count, width, seed, draw):
    labels = draw.draw(st.lists(st.integers(0, 255), min_size=count, max_size=count))
    data = noise(seed, count, width)
    found = read(tmp_path_factory.getbasetemp(), python2_batch(data, "labels", labels))
    assert np.array_equal(found[0], data)
    assert found[1].tolist() == labels


class Opens:
    """Would write a file if anything called what it asks for."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("place", ["data", "labels", "another"])
def test_a_call_of_anything_else_is_refused_and_not_made(tmp_path, protocol, place):
    victim = tmp_path / "written"
    batch = {"data": DATA, "labels": LABELS, place: Opens(victim)}
    with pytest.raises(InputError, match=r"open.*no such file uses.*get the binary format"):
        read(tmp_path, python3_batch(batch, protocol))
    assert not victim.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\x80\x02(ios\nsystem\n.", "instruction INST"),
        (b"\x80\x02(cos\nsystem\no.", "name 'os system'"),
        (b"\x80\x02cbuiltins\neval\n(U\x011tR.", "name 'builtins eval'"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "instruction NEWOBJ"),
        (b"\x80\x02U\x01xQ.", "instruction BINPERSID"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"\x80\x05\x95\x00\x00\x00\x00\x00\x00\x00\x00\x97.", "instruction NEXT_BUFFER"),
        (b"\x80\x04]\x94\x8c\x04eval\x93.", "name '\\? eval'"),
        (b"\x80\x02]" + b"N0" * 3 + b".", "instruction POP"),
    ],
)
def test_forbidden_instructions_and_names(tmp_path, content, found):
    with pytest.raises(InputError, match=found):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        ([1], "another structure"),
        ({"labels": LABELS}, "another structure"),
        ({"data": DATA}, "another structure"),
        ({"data": [1, 2], "labels": LABELS}, "no array"),
        ({"data": DATA.astype(np.uint16), "labels": LABELS}, "no array"),
        ({"data": DATA.ravel(), "labels": LABELS}, "no array"),
        ({"data": DATA, "labels": "abc"}, "no list of small numbers"),
        ({"data": DATA, "labels": [*LABELS[:-1], 256]}, "no list of small numbers"),
        ({"data": DATA, "labels": [*LABELS[:-1], -1]}, "no list of small numbers"),
        ({"data": DATA, "labels": [*LABELS[:-1], 0.5]}, "instruction BINFLOAT"),
        ({"data": DATA, "labels": LABELS[:-1]}, "299 labels for 300 images"),
        ({1: 2, "data": DATA, "labels": LABELS}, "another structure"),
    ],
)
def test_other_contents(tmp_path, batch, found):
    with pytest.raises(InputError, match=found):
        read(tmp_path, python3_batch(batch, 3))


def test_content_that_is_shorter_than_the_shape(tmp_path):
    whole = python2_batch(DATA, "labels", LABELS)
    wrong = whole.replace(b"M\x2c\x01K\x0c\x86", b"M\x2c\x01K\x0d\x86")
    assert wrong != whole
    with pytest.raises(InputError, match="no array"):
        read(tmp_path, wrong)


@given(st.integers(0, 10**6), st.binary(max_size=3), st.integers(0, 5))
def test_damage_is_told_and_nothing_else_happens(tmp_path_factory, place, patch, skipped):
    whole = python2_batch(noise(2, 4, 6), "labels", [0, 1, 2, 3])
    place %= len(whole)
    content = whole[:place] + patch + whole[place + skipped :]
    with suppress(InputError):
        data, labels = read(tmp_path_factory.getbasetemp(), content)
        assert len(data) == len(labels)


def test_a_bomb_of_small_objects_is_stopped(tmp_path):
    with pytest.raises(InputError, match="instruction EMPTY_LIST, number 1,000,001"):
        read(tmp_path, b"\x80\x02" + b"]" * 1_000_010)


def nested(first):
    """Tuples that each hold the one before twice, remembered from a number on: 2 to the power of 200 pieces in all."""
    return b"N" + b"".join(b"\x94h" + bytes([place]) + b"\x86" for place in range(first, first + 200))


@pytest.mark.parametrize(
    "content",
    [nested(0) + b"N\x93.", nested(0) + b"NR.", nested(0) + b".", b"}\x94" + nested(1) + b"Ns."],
    ids=["a name", "a call", "alone", "a key"],
)
def test_nesting_is_neither_spelled_out_nor_hashed(tmp_path, content):
    with pytest.raises(InputError, match=r"structure|no such file uses"):
        read(tmp_path, b"\x80\x04" + content)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_batch(tmp_path / "none", "labels", ADVICE)
