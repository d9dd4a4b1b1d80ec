"""The reader of the wire format: everything known, or refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.graphs.wire import Malformed, Schema, WireMessage

SCHEMA = Schema("a thing", {1: ("count", "int"), 2: ("places", "ints"), 3: ("name", "bytes"), 4: ("part", "messages")})


def varint(value):
    value %= 2**64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def integer(number, value):
    return varint(number << 3) + varint(value)


def blob(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def read(data):
    return WireMessage(memoryview(data), SCHEMA)


int64 = st.integers(-(2**63), 2**63 - 1)


@given(
    count=int64, places=st.lists(int64), packed=st.booleans(), name=st.text(max_size=200), parts=st.lists(st.binary())
)
def test_what_was_written_is_read(count, places, packed, name, parts):
    listed = blob(2, b"".join(map(varint, places))) if packed else b"".join(integer(2, place) for place in places)
    data = integer(1, count) + b"".join(blob(4, part) for part in parts) + listed + blob(3, name.encode())
    message = read(data)
    assert message.integer("count") == count
    assert message.integers("places") == tuple(places)
    assert message.text("name") == name
    assert [bytes(part) for part in message.parts("part")] == parts


def test_what_is_left_out_is_empty():
    message = read(b"")
    assert (message.integer("count"), message.integers("places"), message.text("name")) == (0, (), "")
    assert "count" not in message
    assert "count" in read(integer(1, 0))


@pytest.mark.parametrize(
    "data",
    [
        integer(5, 1),  # a field that is not in the schema
        blob(1, b"x"),
        integer(3, 1),
        integer(1, 1) * 2,
        blob(3, b"x") * 2,
        integer(1, 1)[:-1],
        blob(3, b"long")[:-1],
        b"\x08" + b"\x80" * 10,
        b"\x09" + bytes(8),  # eight bytes, which nothing of ours is
        b"\x0b\x0c",  # a group
        blob(2, b"\x80"),
        blob(2, b"\x01" * 70_000),
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(Malformed):
        read(data)


@pytest.mark.parametrize("name", [b"\xff", b"x" * 2000])
def test_a_name_is_short_and_utf8(name):
    message = read(blob(3, name))
    with pytest.raises(Malformed):
        message.text("name")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    with suppress(Malformed):
        read(data)
