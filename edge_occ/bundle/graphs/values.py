"""Static knowledge of a tensor, and of the attributes and operands that its shape depends on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.graphs.model import Attribute, Node

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """Static knowledge of a tensor.

    Attributes:
        shape: lengths of its axes.
        known: its values, int64, where they follow from shapes and constants.
        extent: whether these are lengths of axes, neither constants nor computed from any.
    """

    shape: Shape
    known: NDArray[np.int64] | None = None
    extent: bool = False


def attribute(node: Node, name: str, default: Attribute) -> Attribute:
    """An attribute, or what holds where it is left out."""
    return node.attributes.get(name, default)


def integer(node: Node, name: str, default: int) -> int:
    """An attribute that is an integer."""
    value = attribute(node, name, default)
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an integer")
    return value


def ints(node: Node, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """An attribute that is a list of integers; without a default it must be there."""
    value = node.attributes[name] if default is None else attribute(node, name, default)
    if not isinstance(value, tuple):
        raise TypeError(f"{name} must be integers")
    return value


def known_of(value: Value, rank: int = 1) -> list[int]:
    """Values of an operand that sizes follow from, a list or, with rank 0, a single one; all must be known."""
    if value.known is None or value.known.ndim != rank:
        raise ValueError("sizes that are no constants")
    return [int(item) for item in value.known.reshape(-1)]


def place_of(axis: int, rank: int) -> int:
    """An axis counted from the front; it may be given from the back."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} of {rank}")
    return axis % rank


def places_of(operands: list[Value], rank: int) -> list[int]:
    """The axes that the second operand names."""
    return [place_of(axis, rank) for axis in known_of(operands[1])]
