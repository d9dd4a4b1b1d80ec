"""What a table is made of, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from edge_occ.common.errors import InputError
from trainer.reproduce.paper import Column, Spread, paper_columns
from trainer.reproduce.procedure import Procedure


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
class Table:
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
