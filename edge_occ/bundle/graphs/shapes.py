"""The shapes of all tensors that a graph will make, and the work of making them, without making any.

Shapes follow from those of the inputs and from constants, by the rules of :mod:`edge_occ.bundle.graphs.rules`; an
operator without one is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edge_occ.bundle.graphs.model import Node, OnnxModel
from edge_occ.bundle.graphs.rules import RULES
from edge_occ.bundle.graphs.values import Shape, Value, ints
from edge_occ.bundle.graphs.wire import Malformed


@dataclass(frozen=True)
class Cost:
    """The cost of a graph for one set of inputs.

    Attributes:
        shapes: of every tensor.
        inputs: values of all inputs and constants.
        peak: most values that are needed at a time, without those.
        work: how long it takes, in multiplications of a product of matrices.
    """

    shapes: Mapping[str, Shape]
    inputs: int
    peak: int
    work: int


def cost_of(model: OnnxModel, inputs: Mapping[str, Shape]) -> Cost:
    """Follow the shapes through a graph.

    Args:
        model: the graph.
        inputs: a shape for each of its inputs.

    Raises:
        Malformed: an operator that ours do not have, or shapes that do not go together.
    """
    values = {name: Value(shape) for name, shape in inputs.items()}
    for name, constant in model.constants.items():
        _define(values, name, Value(constant.shape, constant.known))
    given = sum(math.prod(value.shape) for value in values.values())
    last_use = {name: place for place, node in enumerate(model.nodes) for name in node.inputs}
    last_use.update(dict.fromkeys(model.outputs, len(model.nodes)))
    alive: dict[str, int] = {}
    peak = work = 0
    for place, node in enumerate(model.nodes):
        result, effort = _follow(node, values)
        work += effort
        for name in node.outputs:
            _define(values, name, result)
            alive[name] = math.prod(result.shape)
        peak = max(peak, sum(alive.values()))
        for name in {*node.inputs, *node.outputs} & alive.keys():
            if last_use.get(name, place) <= place:
                del alive[name]
    return Cost({name: value.shape for name, value in values.items()}, given, peak, work)


def _follow(node: Node, values: Mapping[str, Value]) -> tuple[Value, int]:
    """Return the static knowledge of a node's result, and its work."""
    if node.op not in RULES:
        raise Malformed(f"the operator {node.op!r}")
    if not 0 < len(node.outputs) <= (2 if node.op == "TopK" else 1):
        raise Malformed(f"an operator {node.op} with {len(node.outputs)} outputs")
    try:
        operands = [values[name] for name in node.inputs if name]
        result = RULES[node.op](node, operands)
        return result, _work(node, operands, result)
    except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise Malformed(f"an operator {node.op} whose inputs do not fit: {error}") from error


def _define(values: dict[str, Value], name: str, value: Value) -> None:
    if name in values:
        raise Malformed(f"the value {name!r} twice")
    if min(value.shape, default=1) < 0:
        raise Malformed(f"the value {name!r} of shape {value.shape}")
    values[name] = value


_VALUE_WORK = 256
"""Multiplications that take as long as making one value: a processor core does some 20 a nanosecond in products of
matrices, and takes some 10 nanoseconds for the slowest function of one value."""


def _work(node: Node, operands: list[Value], result: Value) -> int:
    made = math.prod(result.shape)
    touched = max(made, *(math.prod(value.shape) for value in operands))
    if node.op == "MatMul":
        return made * operands[0].shape[-1] + _VALUE_WORK * touched
    if node.op == "Conv":
        return made * math.prod(operands[1].shape[1:]) + _VALUE_WORK * touched
    if node.op in ("AveragePool", "MaxPool"):
        touched = made * math.prod(ints(node, "kernel_shape"))
    return _VALUE_WORK * touched
