"""The parts of a table: its rows, and the procedure that computes a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from edge_occ.common.errors import InputError
from trainer.config import TrainConfig
from trainer.reproduce.paper import Column, Spread, paper_columns
from trainer.reproduce.set_changes import SetChange


@dataclass(frozen=True)
class CellTask:
    """The inputs of one cell's training and measurement.

    Attributes:
        category: name of the category.
        data: the category's folder.
        config: all settings of the training.
        preset: name of the preset, for the record.
        device: ``auto``, ``cpu`` or ``cuda``.
        encoders: folder of checkpoints; cells with the same pretraining share one.
        bundle: path of the bundle; an existing file has the same settings, seed and data.
        picture: path for a JPEG of some heatmaps, if the procedure draws any.
        say: prints a line for the user.
        change: of the images to train with.
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
    change: SetChange | None = None


@dataclass(frozen=True)
class Measured:
    """The outputs of one cell's training and measurement.

    Attributes:
        values: metrics by name as fractions of 1, but for those in :attr:`PaperTable.scales`; ``None`` where undefined.
        updates: training steps of pretraining, summed over all encoders.
        seconds: duration of training and measurement.
    """

    values: Mapping[str, float | None]
    updates: int
    seconds: float


@dataclass(frozen=True)
class Procedure:
    """The computation of a cell's figures.

    Attributes:
        name: part of the cell's key.
        version: to be raised when the same settings, seed and data would give other figures.
        find: maps the folder of all data and a category to the category's folder, or ``None`` if it does not exist.
        fingerprint: hashes the files of a category in its folder.
        images: counts the training images of a category in its folder.
        measure: trains and measures; an interrupted call is resumed by the next one.
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
        name: name for ``--rows``.
        label: label in the table, in Markdown.
        preset: name of a file in ``configs/presets``.
        settings: overrides, ``section.field=value``.
        paper: name of the paper's column to compare with.
        fixed: whether the row is always included, whatever ``--rows`` selects.
        block: heading of a group of rows.
        seeded: whether the figures depend on the seed; if not, the row runs once.
        part: prefix, before a dot, of the names of the row's figures in a cell; empty for all figures.
        change: of the images to train with; ``None`` for none.
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
    change: SetChange | None = None

    def figures(self, values: Mapping[str, float | None]) -> dict[str, float | None]:
        """Select the row's figures of a cell, by their names without ``part``."""
        prefix = f"{self.part}." if self.part else ""
        return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}

    @property
    def method(self) -> str:
        """The name without ``part``; rows of the same method show different parts."""
        return self.name.removesuffix(f"-{self.part}") if self.part else self.name

    @property
    def column(self) -> Column | None:
        """The paper's figures to compare with."""
        return paper_columns()[self.paper] if self.paper else None

    def changed(self, change: SetChange) -> Row:
        """Return the row with a change of the images to train with."""
        if not change.name:
            return self
        suffix = f"-{self.part}" if self.part else ""
        name = f"{self.method}-{change.name}{suffix}"
        return replace(self, name=name, label=f"{self.label}; {change.label}", change=change)


@dataclass(frozen=True)
class PaperTable:
    """A reproduced table of a paper.

    Attributes:
        name: name on the command line and in file names.
        title: heading of the table.
        procedure: computes the figures of a cell.
        categories: the paper's categories; those in the data are run.  Empty with ``discover``.
        rows: rows in the order of their run, the cheap ones first.
        main: name of the figure to compare with the paper's.
        metrics: headings by name of the figures to show; empty for all figures of the cells.
        notes: sentences for the reader.
        appendix: columns of the paper without a corresponding category.
        spread: the meaning of ±, as in the paper; with deviations, our figures also show the standard error.
        pictured: rows whose heatmaps may be shown; the first finished one is.
        scales: factors from a cell's values to the table's by name; 100, for percent, where none is given.
        discover: finds the categories in the data of a table that compares with no paper; its sets can be changed.
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
    scales: Mapping[str, float] = field(default_factory=dict)
    discover: Callable[[Path], tuple[str, ...]] | None = None

    @property
    def compares(self) -> bool:
        """True if a paper has figures to compare with."""
        return self.discover is None

    def on(self, data: Path) -> PaperTable:
        """Return the table with the categories of the data, if they are not the paper's.

        Raises:
            InputError: there are none in the data.
        """
        return self if self.discover is None else replace(self, categories=self.discover(data))

    def choose_rows(self, names: Sequence[str]) -> tuple[Row, ...]:
        """Return the named rows, or all for no names, and always the fixed ones.

        Raises:
            InputError: a row is unknown; the message lists the known ones.
        """
        known = [row.name for row in self.rows]
        for name in names:
            check_known("row", name, known, "--rows")
        return tuple(row for row in self.rows if row.fixed or not names or row.name in names)


def check_known(what: str, name: str, known: Sequence[str], option: str) -> None:
    """Raise an error for an unknown name.

    Raises:
        InputError: the name is unknown; the message lists the known ones and suggests the closest.
    """
    if name not in known:
        near = get_close_matches(name, known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"choose with {option}"
        raise InputError(f"a {what} of {', '.join(known)}", repr(name), advice)
