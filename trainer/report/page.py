"""One self-contained HTML page: facts, charts, pictures, tables; nothing is fetched, everything is escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from edge_occ import __version__
from edge_occ.common.errors import InputError
from edge_occ.common.files import atomic_write

_TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Picture:
    """A JPEG picture with a caption."""

    jpeg: bytes
    caption: str


@dataclass(frozen=True)
class Table:
    """Plain cells under a header of the same length."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A part of the page; what is empty is left out.

    Attributes:
        text: paragraphs, an empty line between them.
        svg: an ``<svg>`` element of :mod:`trainer.report.charts`; the only thing that is not escaped.
        code: commands to type or to read, shown as they are.
        pictures: one fills the page's width, several form a gallery.
        folded: shown only when the reader opens it.
    """

    title: str
    text: str = ""
    svg: str = ""
    pictures: Sequence[Picture] = ()
    code: str = ""
    table: Table | None = None
    folded: bool = False


@dataclass(frozen=True)
class Report:
    """The page.

    Attributes:
        lead: the one sentence to read if nothing else is read.
        facts: name and value, shown as a grid at the top.
    """

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]


def write_report(path: Path, report: Report) -> Path:
    """Write the page atomically; folders are made as needed.

    Raises:
        InputError: it cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    page = environment.get_template(_TEMPLATE).render(report=report, version=__version__)
    try:
        with atomic_write(path) as file:
            # Names of files that are not UTF-8 appear in it: their bytes are written as \xNN.
            file.write(page.encode(errors="surrogateescape").decode(errors="backslashreplace").encode())
    except OSError as error:
        raise InputError(
            f"to write a report to {path}", str(error.strerror or error), "make room or choose another place"
        ) from error
    return path


def lines(header: str, values: Sequence[str]) -> Table:
    """A table of one column."""
    return Table((header,), [(value,) for value in values])
