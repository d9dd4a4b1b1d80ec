"""Changed sets: defective images among the good ones to train with, or only some of the good images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.random import Generator

from edge_occ.common.errors import InputError
from trainer.reproduce.sets import LabelledSet

Element = TypeVar("Element")
Number = TypeVar("Number", int, float)

_MAX_SHARE = 0.5


@dataclass(frozen=True)
class SetChange:
    """A change of the images to train with.

    What is drawn depends on the seed alone, and smaller draws are part of larger ones.

    Attributes:
        defects: share of defective images among those to train with, 0 to below 0.5; they are taken from the test.
        images: number of good images to train with; ``None`` for all.
    """

    defects: float = 0.0
    images: int | None = None

    @property
    def name(self) -> str:
        """Part of the names of rows; empty without a change."""
        words = [f"{100 * self.defects:g}-percent-defects"] if self.defects else []
        return "-".join(words + ([f"{self.images}-images"] if self.images is not None else []))

    @property
    def label(self) -> str:
        """For people; empty without a change."""
        words = [f"{100 * self.defects:g} % of the training images are defective"] if self.defects else []
        return ", ".join(words + ([f"{self.images} good images"] if self.images is not None else []))

    def apply(self, labelled: LabelledSet, seed: int) -> LabelledSet:
        """Return the changed set.

        Raises:
            InputError: the set has too few images for it.
        """
        chance = np.random.default_rng(seed)
        train = dict(labelled.train)
        if self.images is not None:
            train = dict(self._draw(list(train.items()), self.images, chance))
        # So many that they are the share of good and defective images together.
        wanted = round(len(train) * self.defects / (1 - self.defects))
        mixed = self._draw([image for image in labelled.test if image.defective], wanted, chance)
        train |= {f"{image.kind}_{image.path.name}": image.path for image in mixed}
        return LabelledSet(train, tuple(image for image in labelled.test if image not in mixed))

    def _draw(self, among: Sequence[Element], count: int, chance: Generator) -> list[Element]:
        if count > len(among):
            raise InputError(
                f"at least {count} images, as {self.label}", str(len(among)), "leave this set out with --categories"
            )
        return [among[index] for index in sorted(chance.permutation(len(among))[:count])]


def parse_changes(contaminate: str | None, images: str | None) -> tuple[SetChange, ...]:
    """Return the changes of ``--contaminate 0,0.02`` and ``--images 10,20``, each alone; none if neither is given.

    Raises:
        InputError: a value is not a share, or not a number of images.
    """
    shares = _numbers(contaminate, float, "--contaminate", "shares from 0 to below 0.5, such as 0,0.02,0.05")
    counts = _numbers(images, int, "--images", "numbers of good images, such as 10,20,50")
    for share in shares:
        if not 0 <= share < _MAX_SHARE:
            raise InputError("shares from 0 to below 0.5", f"{share:g}", "for instance --contaminate 0,0.02,0.05")
    for count in counts:
        if count < 1:
            raise InputError("numbers of images from 1 on", str(count), "for instance --images 10,20,50")
    changes = [*(SetChange(defects=share) for share in shares), *(SetChange(images=count) for count in counts)]
    return tuple(dict.fromkeys(changes))


def _numbers(text: str | None, kind: Callable[[str], Number], option: str, expected: str) -> list[Number]:
    try:
        return [kind(part) for part in text.split(",")] if text is not None else []
    except ValueError:
        raise InputError(expected, repr(text), f"separate them by commas after {option}") from None
