from __future__ import annotations

import pytest

from edge_occ.common.errors import InputError
from trainer.report.page import Page, PagePicture, PageSection, PageTable, write_report


def test_the_page_shows_every_field_and_loads_nothing(tmp_path, open_page):
    path = write_report(
        tmp_path / "new" / "index.html",
        Page(
            "A title",
            "The lead.",
            [("Speed", "40 a second")],
            [
                PageSection(
                    "First", "One paragraph.\n\nAnother one.", svg='<svg><path d="M0 0"/></svg>', code="make demo"
                ),
                PageSection("Second", pictures=[PagePicture(b"abc", "left"), PagePicture(b"def", "right")]),
                PageSection("Third", table=PageTable(("kind", "n"), [("spot", "3"), ("scratch", "4")]), folded=True),
            ],
        ),
    )
    page = open_page(path)
    for text in ("A title", "The lead.", "Speed", "40 a second", "Another one.", "make demo", "left", "scratch"):
        assert text in page.text
    assert page.pictures == [b"abc", b"def"]
    assert len(page.named("svg")) == 1
    assert [tag for tag, _ in page.tags].count("td") == 4
    assert len(page.named("details")) == 1
    assert page.references() == []
    policy = next(m["content"] for m in page.named("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy
    assert policy.startswith("default-src 'none'")


def test_hostile_text_is_escaped_everywhere(tmp_path, open_page, hostile):
    section = PageSection(
        hostile, hostile, code=hostile, pictures=[PagePicture(b"", hostile)], table=PageTable((hostile,), [(hostile,)])
    )
    page = open_page(write_report(tmp_path / "r.html", Page(hostile, hostile, [(hostile, hostile)], [section])))
    assert page.named("script") == []
    assert len(page.named("img")) == 1
    assert page.references() == []
    assert page.text.count("alert(1)") == 11


def test_a_name_that_is_not_utf_8_is_written_with_its_bytes(tmp_path, open_page):
    page = open_page(write_report(tmp_path / "r.html", Page("caf\udce9", "", [], [])))
    assert r"caf\xe9" in page.text


def test_a_failed_write_raises_and_keeps_the_older_page(tmp_path, open_page):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="to write a report"):
        write_report(tmp_path / "file" / "index.html", Page("t", "l", [], []))
    path = write_report(tmp_path / "r.html", Page("older", "l", [], []))
    with pytest.raises(TypeError):
        write_report(path, Page("newer", "l", [], [PageSection("s", pictures=[PagePicture(None, "no bytes")])]))  # type: ignore[arg-type]
    assert "older" in path.read_text()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
