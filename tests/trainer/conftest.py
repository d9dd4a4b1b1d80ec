"""A reader of reports, and a bundle for all tests of the trainer."""

from __future__ import annotations

import base64
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from small_training import PLAIN

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """A page as a browser reads it: tags with attributes, text, and whether every tag is closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def pictures(self) -> list[bytes]:
        prefix = "data:image/jpeg;base64,"
        sources = [str(attributes["src"]) for attributes in self.named("img")]
        assert all(source.startswith(prefix) for source in sources)
        return [base64.b64decode(source[len(prefix) :], validate=True) for source in sources]

    def references(self) -> list[str]:
        """Everything that a browser might fetch or follow, but for the pictures inside the page."""
        found = [
            str(value)
            for _, attributes in self.tags
            for name, value in attributes.items()
            if name in {"src", "href", "xlink:href", "srcset", "action", "poster", "data", "background"}
        ]
        return [value for value in found if not value.startswith(("data:image/jpeg;base64,", "#"))]


@pytest.fixture(scope="session")
def plain(tiny_data: Path, once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A bundle of the plain settings, its report beside it; not to be changed."""
    # Tests of the commands run without torch, too.
    from trainer.config import TrainConfig
    from trainer.job import Job
    from trainer.train import train

    config = TrainConfig.model_validate(PLAIN)
    return once("plain/x.occ", lambda out: train(Job(tiny_data, out, config, "tiny", 0, "cpu", "edge-occ train")))


@pytest.fixture
def open_page() -> Callable[[Path], Page]:
    """Parses a report."""
    return Page


@pytest.fixture
def hostile() -> str:
    """Text that would run, fetch or break out of an attribute if it were not escaped."""
    return '"><script>alert(1)</script><img src=http://evil.example/x onerror="alert(2)">'
