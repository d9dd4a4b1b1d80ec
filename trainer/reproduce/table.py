"""The parts of a table: its rows, and the procedure that computes a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from edge_occ.common.errors import InputError
from trainer.config import TrainConfig
from trainer.reproduce.paper import Column, Spread, paper_columns


@dataclass(frozen=True)
class CellTask:
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
    measure: Callable[[CellTask], Measured]


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        name: for ``--rows``.
        label: for people, in Markdown.
        preset: name of a file in ``configs/presets``.
        settings: overrides, ``section.field=value``.
        paper: name of the paper's column that it stands beside.
        fixed: printed whatever ``--rows`` says.
        block: heading of the rows that belong together.
        seeded: whether its figures depend on the seed; if not, it is done once.
        part: which of a cell's figures are the row's: those whose names begin with it and a dot; none: all.
    """

    name: str
    label: str
    preset: str
    settings: tuple[str, ...] = ()
    paper: str | None = None
    fixed: bool = False
    block: str = ""
    part: str = ""
    seeded: bool = True

    def figures(self, values: Mapping[str, float | None]) -> dict[str, float | None]:
        """The row's own of all figures of a cell, by their names without ``part``."""
        prefix = f"{self.part}." if self.part else ""
        return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}

    @property
    def method(self) -> str:
        """Its name without ``part``: rows of one method differ in the part that they show."""
        return self.name.removesuffix(f"-{self.part}") if self.part else self.name

    @property
    def column(self) -> Column | None:
        """The paper's figures that it stands beside."""
        return paper_columns()[self.paper] if self.paper else None


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper, as it is done again here.

    Attributes:
        name: for the command line and for file names.
        title: what it shows.
        procedure: how a cell gets its figures.
        categories: all that the paper has; those present in the data are done.
        rows: in the order in which they are run, the cheap ones first.
        main: name of the figure that stands beside the paper's.
        metrics: all figures shown, by their names in a cell's result, with headings; empty: all that the cells have.
        notes: sentences for the reader.
        appendix: columns of the paper that no category of ours stands beside.
        spread: what stands behind ±, as in the paper; with deviations ours have the standard error too.
        pictured: rows whose heatmaps are shown, the first that is done.
    """

    name: str
    title: str
    procedure: Procedure
    categories: tuple[str, ...]
    rows: tuple[Row, ...]
    main: str
    metrics: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    appendix: tuple[str, ...] = ()
    spread: Spread = "standard error"
    pictured: tuple[str, ...] = ("auto", "quick", "frozen")

    def choose_rows(self, names: Sequence[str]) -> tuple[Row, ...]:
        """The rows named, or all if none is, and always the fixed ones.

        Raises:
            InputError: a row is unknown; the known ones are listed.
        """
        known = [row.name for row in self.rows]
        for name in names:
            check_known("row", name, known, "--rows")
        return tuple(row for row in self.rows if row.fixed or not names or row.name in names)


def check_known(what: str, name: str, known: Sequence[str], option: str) -> None:
    """Refuse a name that is not among the known ones.

    Raises:
        InputError: they are listed, and the nearest is proposed.
    """
    if name not in known:
        near = get_close_matches(name, known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"choose with {option}"
        raise InputError(f"a {what} of {', '.join(known)}", repr(name), advice)
