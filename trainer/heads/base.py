"""The head: a one-class classifier that is fitted to features of good parts, as a few tensors that a graph can hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

from torch import Tensor


class Unfit(ValueError):
    """Features that a head cannot be fitted to.

    Args:
        found: what is wrong with them.
        advice: what to type.
    """

    def __init__(self, found: str, advice: str) -> None:
        super().__init__(found)
        self.advice = advice


@dataclass(frozen=True)
class Head(ABC):
    """A fitted head: a frozen dataclass whose fields are its tensors, float32, named as the graph's inputs.

    Its arithmetic is sums and products of matrices and a few functions of single values, so that every runtime computes
    the exported head as torch does.
    """

    @abstractmethod
    def score(self, features: Tensor) -> Tensor:
        """Distances from good parts ``[n, rows, columns]``, at least 0, of features ``[n, rows, columns, d]``."""

    @abstractmethod
    def gradient(self, features: Tensor) -> Tensor:
        """The gradient of each score with respect to its own features, in closed form: ``[n, rows, columns, d]``."""

    def score_many(self, features: Tensor) -> Tensor:
        """Return :meth:`score` for any number of images, in bounded memory."""
        return self.score(features)

    def tensors(self) -> dict[str, Tensor]:
        """Inputs of the graph by name, in its order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
