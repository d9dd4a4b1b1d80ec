"""Bundles that were changed, with hashes that agree, so that the change reaches what reads the members."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

BASE = Path(__file__).parent / "data" / "a8c75b7.occ"
"""A bundle of 48 pixels that commit a8c75b7 made, 571 KiB."""

MANIFEST = "manifest.json"
Members = dict[str, bytes]


def unpack(bundle: Path) -> Members:
    """Content of every member, the manifest among them."""
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(members: Members, target: Path, *, agree: bool = True) -> Path:
    """Write a bundle; if hashes are to agree, the manifest's are set to what the members have."""
    if agree:
        manifest = json.loads(members[MANIFEST])
        manifest["members"] = {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
            if name != MANIFEST
        }
        members = {**members, MANIFEST: json.dumps(manifest).encode()}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def with_manifest(members: Members, **sections: Any) -> Members:
    """Change fields: ``calibration={"threshold": 1}`` changes one of a section, anything else a whole field."""
    manifest = json.loads(members[MANIFEST])
    for name, value in sections.items():
        merged = {**manifest[name], **value} if isinstance(value, dict) else value
        manifest[name] = merged
    return {**members, MANIFEST: json.dumps(manifest).encode()}


def with_tensors(members: Members, member: str, **tensors: Any) -> Members:
    """Replace tensors of a member; those that are None are left out.  A double underscore stands for a dot."""
    content = safetensors.numpy.load(members[member])
    content.update({name.replace("__", "."): value for name, value in tensors.items()})
    kept = {name: np.ascontiguousarray(value) for name, value in content.items() if value is not None}
    return {**members, member: safetensors.numpy.save(kept)}


def of_later_onnx(graph: bytes) -> bytes:
    """A graph of operator set 90 in place of 19: well-formed, and of an ONNX that no runtime knows yet."""
    changed = graph.replace(b"B\x04\n\x00\x10\x13", b"B\x04\n\x00\x10\x5a")
    assert changed != graph
    return changed


# Random changes.

_VALUES = [
    *(float("nan"), float("inf"), -float("inf"), 1e30, 1e-30, 0, -1, 1, 0.5, 2**31, 2**63, -(2**63), 10**400),
    *("", "x", "\x1b[31m\n\u202e", "\ud800", "9" * 5000, None, True, [], {}, [[[[]]]], [1, 2, 3], {"a": {}}),
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inside for place in _places(item, (*path, key)))]


def _mutate_manifest(data: bytes, rng: random.Random) -> bytes:
    manifest = json.loads(data)
    del manifest["members"]  # pack() writes them
    *path, last = rng.choice([place for place in _places(manifest) if place])
    parent = manifest
    for key in path:
        parent = parent[key]
    action = rng.randrange(6)
    if action == 0:
        del parent[last]
    elif action == 1 and isinstance(parent, dict):
        parent[f"{last}\x1b"] = parent[last]
    elif action == 2 and isinstance(parent[last], (int, float)):
        parent[last] *= rng.choice([0, -1, 1.01, 0.99, 2, 1e6, 1e300])
    else:
        parent[last] = rng.choice(_VALUES)
    return json.dumps(manifest).encode()


_DTYPES = [np.float32, np.float64, np.float16, np.uint8, np.int8, np.int64, np.bool_]


def _mutate_tensors(data: bytes, rng: random.Random) -> bytes:
    tensors = safetensors.numpy.load(data)
    name = rng.choice(sorted(tensors))
    value = tensors[name].copy()
    with np.errstate(all="ignore"):
        changes: list[Callable[[], Any]] = [
            lambda: None,
            lambda: value.astype(rng.choice(_DTYPES)),
            lambda: value[None],
            lambda: value.reshape(-1),
            lambda: value[:0],
            lambda: value[:1],
            lambda: value[..., :1],
            lambda: np.concatenate([value, value]),
            lambda: np.zeros_like(value),
            lambda: (value * np.float64(rng.choice([0, -1, 1e30, 1.5, 1 + 1e-7]))).astype(value.dtype),
            lambda: np.array(1.0, value.dtype),
            lambda: _one_changed(value, rng),
        ]
        changed = rng.choice(changes)()
    del tensors[name]
    if changed is not None:
        tensors[name if rng.random() < 0.9 else rng.choice([f"{name}.1", "\x1b[2J", "weights", "frame.99"])] = changed
    return safetensors.numpy.save({key: np.ascontiguousarray(item) for key, item in tensors.items()})


def _one_changed(value: np.ndarray[Any, Any], rng: random.Random) -> np.ndarray[Any, Any]:
    flat = value.reshape(-1)
    if flat.size:
        flat[rng.randrange(flat.size)] = rng.choice([0, 1, 255]) if value.dtype == np.uint8 else rng.choice(_VALUES[:8])
    return value


_NESTED = {"": {7: "graph", 8: "leaf"}, "graph": {1: "node", 5: "tensor", 11: "value", 12: "value"}}
_NESTED |= {"node": {5: "leaf"}, "value": {2: "type"}, "type": {1: "tensor type"}, "tensor type": {2: "shape"}}
_NESTED |= {"shape": {1: "leaf"}}
"""Fields of an ONNX file's messages that are messages themselves, as far as changes are made in them."""


def _mutate_message(data: bytes, rng: random.Random, kind: str = "") -> bytes:
    """Change one field of a message or, more often, of one inside it."""
    fields = _split(data)
    nested = [i for i, (number, wire, _) in enumerate(fields) if wire == 2 and number in _NESTED.get(kind, {})]
    if nested and rng.random() < 0.85:
        i = rng.choice(nested)
        number, wire, value = fields[i]
        fields[i] = (number, wire, _mutate_message(bytes(value), rng, _NESTED[kind][number]))
        return _join(fields)
    numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 14, 15, 20, 25]
    i = rng.randrange(len(fields)) if fields else 0
    action = rng.randrange(5)
    if not fields or action == 0:
        fields.insert(i, (rng.choice(numbers), 0, rng.choice([0, 1, 7, 2**31, 2**64 - 1])))
    elif action == 1:
        fields.insert(i, (rng.choice(numbers), 2, rng.choice([b"", b"If", b"Loop", b"etc/passwd", fields[i][2]])))
    elif action == 2:
        del fields[i]
    elif action == 3:
        fields.insert(rng.randrange(len(fields)), fields[i])
    else:
        number, wire, value = fields[i]
        fields[i] = (number, wire, rng.choice([0, 1, 2, 9, 10**9, 2**63]) if wire == 0 else _spoilt(bytes(value), rng))
    return _join(fields)


_OPERATORS = [b"Add", b"Mul", b"MatMul", b"Concat", b"Expand", b"ConstantOfShape", b"Loop", b"If", b"Range", b"Tile"]


def _spoilt(value: bytes, rng: random.Random) -> bytes:
    if len(value) <= 16 and rng.random() < 0.5:
        return rng.choice([*_OPERATORS, b"", b"\xff\xfe", np.int64(rng.choice([0, -1, 7, 10**9])).tobytes()])
    place = rng.randrange(len(value) + 1)
    return value[:place] + bytes([rng.randrange(256)]) + value[place + rng.randrange(3) :]


def _split(data: bytes) -> list[tuple[int, int, Any]]:
    fields, stream = [], io.BytesIO(data)
    while stream.tell() < len(data):
        tag = _read_varint(stream)
        value = _read_varint(stream)
        fields.append((tag >> 3, tag & 7, value if tag & 7 == 0 else stream.read(value)))
    return fields


def _join(fields: list[tuple[int, int, Any]]) -> bytes:
    parts = []
    for number, wire, value in fields:
        if wire == 0 and isinstance(value, int):
            parts += [_varint(number << 3), _varint(value)]
        elif isinstance(value, bytes):
            parts += [_varint(number << 3 | 2), _varint(len(value)), value]
    return b"".join(parts)


def _read_varint(stream: io.BytesIO) -> int:
    value = shift = 0
    while (byte := stream.read(1)[0]) & 0x80:
        value, shift = value | (byte & 0x7F) << shift, shift + 7
    return value | byte << shift


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def mutated(members: Members, rng: random.Random, target: Path) -> Path:
    """A bundle with one random change; what was not hit by it is as it was."""
    members = dict(members)
    kind = rng.choices(["manifest", "tensors", "graph", "bytes", "card", "file"], [6, 6, 8, 2, 1, 2])[0]
    tensors = [name for name in members if name.endswith(".safetensors")]
    graphs = [name for name in members if name.endswith(".onnx")]
    if kind == "manifest":
        members[MANIFEST] = _mutate_manifest(members[MANIFEST], rng)
    elif kind == "tensors":
        name = rng.choice(tensors)
        members[name] = _mutate_tensors(members[name], rng)
    elif kind == "graph":
        name = rng.choice(graphs)
        members[name] = _mutate_message(members[name], rng)
    elif kind == "bytes":
        name = rng.choice([*tensors, *graphs])
        members[name] = _spoilt(members[name], rng)
    elif kind == "card":
        members["MODEL_CARD.md"] = rng.choice(
            [b"", b"\xff\xfe\x00", b"\x1b[31mred", "für".encode("latin-1"), b"#" * 2**21]
        )
    pack(members, target)
    if kind == "file":
        data = target.read_bytes()
        place = rng.randrange(len(data) - rng.choice([0, 2000]))
        target.write_bytes(rng.choice([data[:place], _spoilt(data, rng), data[:-1500] + _spoilt(data[-1500:], rng)]))
    return target
