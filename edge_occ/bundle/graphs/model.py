"""An ONNX model of the kind that :mod:`trainer.export.onnx_graph` writes, read strictly.

It has one graph, without subgraphs, functions or data outside the file: ONNX's fields for them are not in the schemas
below, and a field that is not in a schema is refused.  Field numbers are those of ``onnx.proto``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.graphs.wire import Malformed, Schema, WireMessage, text_of

MAX_NODES = 4096
"""Largest number of nodes.  An encoder with its heads has about 190, and an ensemble has up to 16 of them."""

MAX_STRUCTURE = 16 << 20
"""Largest number of bytes of a file without the values of constants.  Exported files have 1.6 kB a node, most of it the
exporter's notes.  In the worst case a runtime makes an object of every two bytes, which takes a few hundred MB."""

LARGEST_FILE = 1 << 30
"""Largest file in bytes.  A ResNet-18 has 45 MB in fp32, and an ensemble has up to 16 of them."""

_DOMAINS = ("", "ai.onnx")

_OPSETS, _IR_VERSIONS = range(18, 1000), range(1, 1000)
"""Versions of the operators, from the first in which all axes are operands, and of the format.  A runtime refuses those
that are too new for it."""

INT64 = 7
_ITEM_SIZES = {1: 4, 2: 1, 3: 1, 6: 4, INT64: 8, 9: 1, 10: 2}
"""Bytes of a value, by ONNX's number of its type: float, uint8, int8, int32, int64, bool, float16."""

_MAX_AXES = 8
_MAX_KNOWN = 64
"""Largest number of values in a constant that can determine a shape: axes, sizes, places."""

_MODEL = Schema(
    "a model",
    {
        1: ("ir_version", "int"),
        2: ("producer_name", "bytes"),
        3: ("producer_version", "bytes"),
        4: ("domain", "bytes"),
        5: ("model_version", "int"),
        6: ("doc_string", "bytes"),
        7: ("graph", "bytes"),
        8: ("opset_import", "messages"),
        14: ("metadata_props", "messages"),
    },
)
_OPSET = Schema("an operator set", {1: ("domain", "bytes"), 2: ("version", "int")})
_GRAPH = Schema(
    "a graph",
    {
        1: ("node", "messages"),
        2: ("name", "bytes"),
        5: ("initializer", "messages"),
        10: ("doc_string", "bytes"),
        11: ("input", "messages"),
        12: ("output", "messages"),
        13: ("value_info", "messages"),
        16: ("metadata_props", "messages"),
    },
)
_NODE = Schema(
    "a node",
    {
        1: ("input", "messages"),
        2: ("output", "messages"),
        3: ("name", "bytes"),
        4: ("op_type", "bytes"),
        5: ("attribute", "messages"),
        6: ("doc_string", "bytes"),
        7: ("domain", "bytes"),
        9: ("metadata_props", "messages"),
    },
)
_ATTRIBUTE = Schema(
    "an attribute",
    {
        1: ("name", "bytes"),
        3: ("i", "int"),
        4: ("s", "bytes"),
        8: ("ints", "ints"),
        13: ("doc_string", "bytes"),
        20: ("type", "int"),
    },
)
_TENSOR = Schema(
    "a constant",
    {
        1: ("dims", "ints"),
        2: ("data_type", "int"),
        5: ("int32_data", "ints"),
        7: ("int64_data", "ints"),
        8: ("name", "bytes"),
        9: ("raw_data", "bytes"),
        12: ("doc_string", "bytes"),
        14: ("data_location", "int"),
        16: ("metadata_props", "messages"),
    },
)
_VALUE = Schema(
    "an input or output",
    {1: ("name", "bytes"), 2: ("type", "bytes"), 3: ("doc_string", "bytes"), 4: ("metadata_props", "messages")},
)
_TYPE = Schema("a type", {1: ("tensor_type", "bytes"), 6: ("denotation", "bytes")})
_TENSOR_TYPE = Schema("the type of a tensor", {1: ("elem_type", "int"), 2: ("shape", "bytes")})
_SHAPE = Schema("a shape", {1: ("dim", "messages")})
_AXIS = Schema("an axis", {1: ("dim_value", "int"), 2: ("dim_param", "bytes"), 3: ("denotation", "bytes")})

_INT, _STRING, _INTS = 2, 3, 7
"""ONNX's numbers of the types of attributes."""

Attribute = int | str | tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """An initializer.

    Attributes:
        shape: of the tensor.
        known: the values, int64, if they can determine a shape; else ``None``.
    """

    shape: tuple[int, ...]
    known: NDArray[np.int64] | None


@dataclass(frozen=True)
class Node:
    """One operation."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class Tensor:
    """An input or output of the graph; an axis of any length is ``None``."""

    elem_type: int
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class OnnxModel:
    """A graph with its inputs, outputs and constants."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    constants: Mapping[str, Constant]
    nodes: tuple[Node, ...]


def read_model(onnx: bytes) -> OnnxModel:
    """Read a serialised ONNX model.

    Raises:
        Malformed: it is not such a model, or has parts that the trainer does not export.
    """
    if len(onnx) > LARGEST_FILE:
        raise Malformed(f"{len(onnx) >> 20} MB")
    model = WireMessage(memoryview(onnx), _MODEL)
    opsets = [WireMessage(data, _OPSET) for data in model.parts("opset_import")]
    imported = [(opset.text("domain"), opset.integer("version")) for opset in opsets]
    if len(imported) != 1 or imported[0][0] not in _DOMAINS or imported[0][1] not in _OPSETS:
        raise Malformed(f"operators of {imported}")
    if model.integer("ir_version") not in _IR_VERSIONS:
        raise Malformed(f"version {model.integer('ir_version')} of the format")
    graph = WireMessage(model.part("graph"), _GRAPH)
    nodes, initializers = graph.parts("node"), graph.parts("initializer")
    if not 0 < len(nodes) <= MAX_NODES:
        raise Malformed(f"{len(nodes)} nodes, not 1 to {MAX_NODES}")
    tensors = [WireMessage(data, _TENSOR) for data in initializers[: 4 * MAX_NODES + 1]]
    values = sum(len(tensor.part("raw_data")) for tensor in tensors)
    if len(initializers) > 4 * MAX_NODES or len(onnx) - values > MAX_STRUCTURE:
        raise Malformed(f"{len(initializers)} constants and {len(onnx) - values} bytes apart from their values")
    return OnnxModel(
        dict(map(_tensor, graph.parts("input"))),
        dict(map(_tensor, graph.parts("output"))),
        dict(map(_constant, tensors)),
        tuple(map(_node, nodes)),
    )


def _node(data: memoryview) -> Node:
    node = WireMessage(data, _NODE)
    if node.text("domain") not in _DOMAINS:
        raise Malformed(f"an operator of {node.text('domain')!r}")
    attributes = dict(_attribute(WireMessage(attribute, _ATTRIBUTE)) for attribute in node.parts("attribute"))
    return Node(node.text("op_type"), node.texts("input"), node.texts("output"), attributes)


def _attribute(attribute: WireMessage) -> tuple[str, Attribute]:
    name, kind = attribute.text("name"), attribute.integer("type")
    if kind == _INT:
        return name, attribute.integer("i")
    if kind == _INTS and len(attribute.integers("ints")) <= 2 * _MAX_AXES:
        return name, attribute.integers("ints")
    if kind == _STRING:
        return name, text_of(attribute.part("s"))
    raise Malformed(f"an attribute {name!r} of type {kind}")


def _constant(tensor: WireMessage) -> tuple[str, Constant]:
    name, shape, kind = tensor.text("name"), tensor.integers("dims"), tensor.integer("data_type")
    if tensor.integer("data_location") != 0:
        raise Malformed(f"a constant {name!r} in another file")
    if len(shape) > _MAX_AXES or min(shape, default=1) < 0 or kind not in _ITEM_SIZES:
        raise Malformed(f"a constant {name!r} of type {kind} and shape {shape}")
    count, raw = math.prod(shape), tensor.part("raw_data")
    listed = tensor.integers("int64_data" if kind == INT64 else "int32_data")
    held = sum(len(tensor.integers(field)) for field in ("int32_data", "int64_data"))
    whole = len(raw) == count * _ITEM_SIZES[kind] and held == 0 if raw or not count else len(listed) == held == count
    if not whole:
        raise Malformed(f"a constant {name!r} of {count} values that holds others")
    known = None
    if kind == INT64 and count <= _MAX_KNOWN:
        values = np.frombuffer(raw, "<i8") if raw else np.array(listed, np.int64)
        known = values.astype(np.int64).reshape(shape)
    return name, Constant(shape, known)


def _tensor(data: memoryview) -> tuple[str, Tensor]:
    value = WireMessage(data, _VALUE)
    tensor = WireMessage(WireMessage(value.part("type"), _TYPE).part("tensor_type"), _TENSOR_TYPE)
    axes = [WireMessage(axis, _AXIS) for axis in WireMessage(tensor.part("shape"), _SHAPE).parts("dim")]
    if len(axes) > _MAX_AXES:
        raise Malformed(f"{value.text('name')!r} with {len(axes)} axes")
    shape = tuple(axis.integer("dim_value") if "dim_value" in axis else None for axis in axes)
    return value.text("name"), Tensor(tensor.integer("elem_type"), shape)
