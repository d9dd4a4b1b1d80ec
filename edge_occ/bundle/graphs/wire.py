"""A strict reader of Protocol Buffers' wire format, as far as exported ONNX files need it; it copies nothing.

A library would first build an object for every part of the file, many times its size, before anything could be refused.
This reader refuses every field that its caller does not name, so that a file that passes has no unknown content.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "ints", "bytes", "messages"]
"""Kind of a field: one integer; several integers, packed or not; one string, blob or message; several of these."""

_VARINT, _BYTES = 0, 2
_WIRE_TYPES: Mapping[Kind, frozenset[int]] = {
    "int": frozenset({_VARINT}),
    "ints": frozenset({_VARINT, _BYTES}),
    "bytes": frozenset({_BYTES}),
    "messages": frozenset({_BYTES}),
}
_LONGEST_VARINT = 10
_MAX_INTS = 65_536
"""Largest number of integers in one field; exported files have a few."""


class Malformed(ValueError):
    """A file has content that is not allowed; the text says what was found."""


@dataclass(frozen=True)
class Schema:
    """The fields that a message may have.

    Attributes:
        name: of the message, for people.
        fields: by their numbers, name and kind.
    """

    name: str
    fields: Mapping[int, tuple[str, Kind]]


class WireMessage:
    """One message, all of whose fields are in its schema.

    Args:
        data: the serialised message; returned blobs are views of it.
        schema: the fields that it may have.

    Raises:
        Malformed: a field that is not in the schema or of another type, one twice that can be there once, or a broken
            encoding.
    """

    def __init__(self, data: memoryview, schema: Schema) -> None:
        self._ints: dict[str, list[int]] = {}
        self._parts: dict[str, list[memoryview]] = {}
        for number, wire_type, value in _fields(data):
            name, kind = schema.fields.get(number, ("", "int"))
            if not name or wire_type not in _WIRE_TYPES[kind]:
                raise Malformed(f"{schema.name} with field {number} of wire type {wire_type}")
            if isinstance(value, memoryview) and kind != "ints":
                self._parts.setdefault(name, []).append(value)
            else:
                ints = self._ints.setdefault(name, [])
                ints.extend([value] if isinstance(value, int) else _packed(value))
                if len(ints) > _MAX_INTS:
                    raise Malformed(f"{schema.name} with over {_MAX_INTS} values of {name}")
            if kind in ("int", "bytes") and len(self._ints.get(name, self._parts.get(name, ()))) > 1:
                raise Malformed(f"{schema.name} with {name} twice")

    def __contains__(self, name: str) -> bool:
        return name in self._ints or name in self._parts

    def integer(self, name: str) -> int:
        """A signed integer, 0 where it is left out."""
        return self._ints.get(name, [0])[0]

    def integers(self, name: str) -> tuple[int, ...]:
        """Signed integers."""
        return tuple(self._ints.get(name, ()))

    def part(self, name: str) -> memoryview:
        """A blob or message, empty where it is left out."""
        return self._parts.get(name, [memoryview(b"")])[0]

    def parts(self, name: str) -> list[memoryview]:
        """Blobs or messages."""
        return self._parts.get(name, [])

    def text(self, name: str) -> str:
        """A string, empty where it is left out."""
        return text_of(self.part(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """Strings."""
        return tuple(map(text_of, self.parts(name)))


def text_of(data: memoryview) -> str:
    """A string as it is serialised.

    Raises:
        Malformed: not UTF-8, or too long for a name.
    """
    if len(data) > _LONGEST_TEXT:
        raise Malformed(f"a name of {len(data)} bytes")
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("a name that is not UTF-8") from error


_LONGEST_TEXT = 1024


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield number, wire type and value of every field, in order."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        value, at = _varint(data, at)
        if wire_type == _VARINT:
            yield number, wire_type, _signed(value)
        elif wire_type == _BYTES:
            if at + value > len(data):
                raise Malformed("a field that is cut off")
            yield number, wire_type, data[at : at + value]
            at += value
        else:
            raise Malformed(f"a field of wire type {wire_type}")


def _packed(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield _signed(value)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return an unsigned integer of 64 bits and the offset behind it."""
    value = 0
    for place, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & (2**64 - 1), at + place + 1
    raise Malformed("an integer that is cut off")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
