"""A self-contained HTML page of facts, charts, pictures and tables; it loads nothing and escapes everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_occ import __version__
from edge_occ.common.errors import InputError
from edge_occ.common.files import atomic_write
from trainer.report.rendering import render


@dataclass(frozen=True)
class PagePicture:
    """A JPEG picture with a caption."""

    jpeg: bytes
    caption: str


@dataclass(frozen=True)
class PageTable:
    """Rows of text under a header of the same length."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class PageSection:
    """A section of the page; empty fields are left out.

    Attributes:
        text: paragraphs, separated by empty lines.
        svg: an ``<svg>`` element from :mod:`trainer.report.charts`; the only field that is not escaped.
        pictures: a single one fills the page's width, several form a gallery.
        code: commands, shown verbatim.
        folded: whether the section is closed until the reader opens it.
    """

    title: str
    text: str = ""
    svg: str = ""
    pictures: Sequence[PagePicture] = ()
    code: str = ""
    table: PageTable | None = None
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        lead: the main result, in one or two sentences.
        facts: names and values, shown as a grid at the top.
    """

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[PageSection]


def write_report(path: Path, page: Page) -> Path:
    """Write a page atomically; missing folders are created.

    Raises:
        InputError: the file cannot be written.
    """
    return write_page(path, render("page.html.j2", page=page, version=__version__))


def write_page(path: Path, text: str) -> Path:
    """Write the text of a page atomically; missing folders are created.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with atomic_write(path) as file:
            # Names of files that are not UTF-8 appear in it: their bytes are written as \xNN.
            file.write(text.encode(errors="surrogateescape").decode(errors="backslashreplace").encode())
    except OSError as error:
        raise InputError(
            f"to write a report to {path}", str(error.strerror or error), "make room or choose another place"
        ) from error
    return path


def lines(header: str, values: Sequence[str]) -> PageTable:
    """Return a table of one column."""
    return PageTable((header,), [(value,) for value in values])
