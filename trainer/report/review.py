"""The page on which a person judges the oddest good images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_occ import __version__
from trainer.report.page import PagePicture, write_page
from trainer.report.rendering import render, resource


@dataclass(frozen=True)
class ReviewImage:
    """One good image.

    Attributes:
        name: as the file of the review will call it.
        facts: its score and rank, in one or two sentences.
        thumbnail: a small JPEG.
        pictures: the image, its heatmap and the place of the peak.
    """

    name: str
    facts: str
    thumbnail: bytes
    pictures: Sequence[PagePicture]


@dataclass(frozen=True)
class ReviewPage:
    """A whole page.

    Attributes:
        lead: how many images look odd, and by which rule.
        advice: how to judge, and what follows from it.
        images: the oddest first.
        command: what to type with the saved file.
        data: schema and bundle, which the saved file repeats.
    """

    title: str
    lead: str
    advice: str
    images: Sequence[ReviewImage]
    command: str
    data: Mapping[str, str]


def review_page(path: Path, page: ReviewPage) -> Path:
    """Write the page atomically.

    Raises:
        InputError: the file cannot be written.
    """
    style = resource("style.css") + resource("review.css")
    text = render("review.html.j2", page=page, style=style, script=resource("review.js"), version=__version__)
    return write_page(path, text)
