"""Rules for the shape of each operator's result, for the operators that :mod:`trainer.export.onnx_graph` writes.

Only ``Range`` over the extent of an axis makes a tensor whose size is computed; all other sizes are constants, so that
nothing in a graph grows with the content of a frame or of a head.  The operators' reference:
https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.graphs.model import INT64, Node
from edge_occ.bundle.graphs.values import Shape, Value, attribute, integer, ints, known_of, place_of, places_of


def _same(_node: Node, operands: list[Value]) -> Value:
    return Value(operands[0].shape)


def _cast(node: Node, operands: list[Value]) -> Value:
    # A cast to another type than int64 may change the values.
    return operands[0] if integer(node, "to", 0) == INT64 else Value(operands[0].shape)


def _broadcast(node: Node, operands: list[Value]) -> Value:
    shape = np.broadcast_shapes(*(value.shape for value in operands))
    known = [value.known for value in operands if value.known is not None]
    if node.op not in _INTEGER or len(known) < len(operands):
        return Value(shape)
    if node.op == "Div" and (min(map(np.min, known)) < 0 or not known[1].all()):
        raise ValueError("a division of lengths that rounds")
    with np.errstate(over="ignore"):
        return Value(shape, np.asarray(_INTEGER[node.op](*known)))


_INTEGER: dict[str, Callable[..., NDArray[np.int64]]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.floor_divide,
}
"""Operators that compute positions from lengths where a window is cropped; only slices use these."""


def _matmul(_node: Node, operands: list[Value]) -> Value:
    a, b = (value.shape for value in operands)
    if min(len(a), len(b)) < 2 or a[-1] != b[-2]:
        raise ValueError(f"{a} times {b}")
    return Value((*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]))


def _transpose(node: Node, operands: list[Value]) -> Value:
    shape = operands[0].shape
    order = ints(node, "perm", tuple(reversed(range(len(shape)))))
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"order {order} of {len(shape)} axes")
    return Value(tuple(shape[axis] for axis in order))


def _reduce(node: Node, operands: list[Value]) -> Value:
    shape = operands[0].shape
    axes = places_of(operands, len(shape)) if len(operands) > 1 else list(range(len(shape)))
    if not axes:
        raise ValueError("no axes")
    return Value(_without(shape, axes, bool(integer(node, "keepdims", 1))))


def _arg(node: Node, operands: list[Value]) -> Value:
    shape = operands[0].shape
    return Value(_without(shape, [place_of(integer(node, "axis", 0), len(shape))], bool(integer(node, "keepdims", 1))))


def _without(shape: Shape, axes: list[int], kept: bool) -> Shape:
    return tuple(1 if i in axes else n for i, n in enumerate(shape) if kept or i not in axes)


def _top(node: Node, operands: list[Value]) -> Value:
    shape = list(operands[0].shape)
    axis = place_of(integer(node, "axis", -1), len(shape))
    (count,) = known_of(operands[1])
    if not 0 < count <= shape[axis]:
        raise ValueError(f"the highest {count} of {shape[axis]}")
    shape[axis] = count
    return Value(tuple(shape))


def _shape(node: Node, operands: list[Value]) -> Value:
    shape = operands[0].shape
    known = np.array(shape[slice(integer(node, "start", 0), integer(node, "end", len(shape)))], np.int64)
    return Value(known.shape, known, extent=True)


def _reshape(node: Node, operands: list[Value]) -> Value:
    source, count = operands[0], math.prod(operands[0].shape)
    wanted = known_of(operands[1])
    if not integer(node, "allowzero", 0):
        wanted = [source.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    free = [i for i, n in enumerate(wanted) if n == -1]
    rest = math.prod(n for n in wanted if n != -1)
    if len(free) == 1 and rest > 0:
        wanted[free[0]] = count // rest
    if math.prod(wanted) != count or min(wanted, default=1) < 0:
        raise ValueError(f"{source.shape} as {wanted}")
    return _rearranged(source, tuple(wanted))


def _squeeze(_node: Node, operands: list[Value]) -> Value:
    shape = operands[0].shape
    ones = [i for i, n in enumerate(shape) if n == 1]
    axes = places_of(operands, len(shape)) if len(operands) > 1 else ones
    if not set(axes) <= set(ones):
        raise ValueError(f"{shape} without the axes {axes}")
    return _rearranged(operands[0], _without(shape, axes, kept=False))


def _unsqueeze(_node: Node, operands: list[Value]) -> Value:
    rest = list(operands[0].shape)
    rank = len(rest) + len(known_of(operands[1]))
    axes = places_of(operands, rank)
    if len(set(axes)) < len(axes):
        raise ValueError(f"the axes {axes} twice")
    return _rearranged(operands[0], tuple(1 if i in axes else rest.pop(0) for i in range(rank)))


def _rearranged(value: Value, shape: Shape) -> Value:
    known = None if value.known is None else value.known.reshape(shape)
    return Value(shape, known, value.extent)


def _concat(node: Node, operands: list[Value]) -> Value:
    shapes = [list(value.shape) for value in operands]
    axis = place_of(integer(node, "axis", 0), len(shapes[0]))
    length = sum(shape.pop(axis) for shape in shapes)
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"{[value.shape for value in operands]} side by side along axis {axis}")
    shapes[0].insert(axis, length)
    return Value(tuple(shapes[0]))


def _slice(_node: Node, operands: list[Value]) -> Value:
    source, (starts, ends) = operands[0], (known_of(value) for value in operands[1:3])
    axes = [
        place_of(a, len(source.shape)) for a in (known_of(operands[3]) if len(operands) > 3 else range(len(starts)))
    ]
    steps = known_of(operands[4]) if len(operands) > 4 else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or min(steps, default=1) < 1:
        raise ValueError("a slice that goes backwards")
    shape = list(source.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        shape[axis] = len(range(*slice(start, end, step).indices(source.shape[axis])))
    return Value(tuple(shape))


def _gather(node: Node, operands: list[Value]) -> Value:
    source, places = operands
    axis = place_of(integer(node, "axis", 0), len(source.shape))
    shape = (*source.shape[:axis], *places.shape, *source.shape[axis + 1 :])
    if source.known is None or places.known is None:
        return Value(shape)
    return Value(shape, np.take(source.known, places.known, axis), source.extent)


def _gather_nd(node: Node, operands: list[Value]) -> Value:
    source, places = (value.shape for value in operands)
    if integer(node, "batch_dims", 0) != 0 or not 0 < places[-1] <= len(source):
        raise ValueError(f"places {places} in {source}")
    return Value((*places[:-1], *source[places[-1] :]))


def _range(_node: Node, operands: list[Value]) -> Value:
    (start,), (limit,), (step,) = (known_of(value, 0) for value in operands)
    if not operands[1].extent or start != 0 or step != 1:
        raise ValueError("something else than the places along an axis")
    return Value((limit,))


def _convolve(node: Node, operands: list[Value]) -> Value:
    source, weights, *bias = (value.shape for value in operands)
    groups = integer(node, "group", 1)
    if groups < 1 or source[1] != weights[1] * groups or weights[0] % groups or bias not in ([], [(weights[0],)]):
        raise ValueError(f"{source} with weights {weights} in {groups} groups")
    if ints(node, "kernel_shape", weights[2:]) != weights[2:]:
        raise ValueError(f"weights {weights} as a kernel of {ints(node, 'kernel_shape')}")
    return Value((source[0], weights[0], *_slide(node, source[2:], weights[2:])))


def _pool(node: Node, operands: list[Value]) -> Value:
    shape = operands[0].shape
    return Value((*shape[:2], *_slide(node, shape[2:], ints(node, "kernel_shape"))))


def _slide(node: Node, extents: Shape, kernel: Shape) -> Shape:
    """Lengths of the axes that a window is moved along."""
    rank = len(extents)
    strides, dilations = (ints(node, name, (1,) * rank) for name in ("strides", "dilations"))
    pads = ints(node, "pads", (0,) * 2 * rank)
    if {len(kernel), len(strides), len(dilations), len(pads) / 2} != {rank} or not rank:
        raise ValueError(f"a window of {len(kernel)} axes over {rank}")
    if min(*strides, *dilations, *kernel) < 1 or min(pads) < 0 or max(pads) > max(kernel):
        raise ValueError(f"strides {strides}, dilations {dilations}, pads {pads}")
    if attribute(node, "auto_pad", "NOTSET") != "NOTSET" or integer(node, "ceil_mode", 0) != 0:
        raise ValueError("another way to pad than by numbers")
    lengths = [
        (extents[i] + pads[i] + pads[rank + i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    ]
    if min(lengths) < 1:
        raise ValueError(f"a window of {kernel} over {extents}")
    return tuple(lengths)


Rule = Callable[[Node, list[Value]], Value]
"""A function of a node and of what is known about its operands; it returns what is known about the result.  Operands
that do not fit raise one of ``IndexError``, ``KeyError``, ``TypeError`` and ``ValueError``."""

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("Abs", "Clip", "Exp", "Log", "Neg", "Relu", "Sigmoid", "Softplus", "Sqrt"), _same),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _same),
    **dict.fromkeys(("Add", "Div", "Greater", "Mul", "Pow", "Sub", "Where"), _broadcast),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), _reduce),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    "ArgMin": _arg,
    "Cast": _cast,
    "Concat": _concat,
    "Conv": _convolve,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "MatMul": _matmul,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "TopK": _top,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
