"""How the cell of a table gets its figures; a new kind of table brings a procedure of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.config import TrainConfig


@dataclass(frozen=True)
class Task:
    """One cell to be worked out.

    Attributes:
        category: which part of the data.
        data: its folder.
        config: all settings of the training.
        preset: their preset's name, for the record.
        device: ``auto``, ``cpu`` or ``cuda``.
        encoders: folder of checkpoints, shared by all cells: those with the same stage 1 train it once.
        bundle: the trained bundle's place; what lies there already is of the same settings, seed and data.
        picture: place of a JPEG of some heatmaps, if the procedure has any.
        say: takes a line for people.
    """

    category: str
    data: Path
    config: TrainConfig
    preset: str
    seed: int
    device: str
    encoders: Path
    bundle: Path
    picture: Path
    say: Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """What came of it.

    Attributes:
        values: metrics by name, fractions of 1; ``None`` where undefined.
        updates: training steps of stage 1, of all encoders together.
        seconds: of training and measuring.
    """

    values: Mapping[str, float | None]
    updates: int
    seconds: float


@dataclass(frozen=True)
class Procedure:
    """From data and settings to figures.

    Attributes:
        name: for the cache.
        version: to be raised whenever the same settings, seed and data would give other figures.
        find: from the folder of all data and a category to the category's folder; ``None`` if it is not there.
        fingerprint: of the files in that folder which the category needs.
        images: how many there are in that folder to train on.
        measure: does the work; it can be interrupted, and goes on where it was.
    """

    name: str
    version: int
    find: Callable[[Path, str], Path | None]
    fingerprint: Callable[[Path, str], str]
    images: Callable[[Path, str], int]
    measure: Callable[[Task], Measured]
