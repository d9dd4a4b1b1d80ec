"""Untrusted text as the name of a file."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.file_name import FILE_NAME, file_name

HOSTILE = [
    "",
    ".",
    "..",
    "../..",
    "a/b",
    "/etc",
    "a\\b",
    "C:",
    "~root",
    "a\x00b",
    "a\nb",
    "caf\udce9",
    "漢字",
    "x" * 300,
    "-",
]


@pytest.mark.parametrize("name", ["left", "station-7", "Camera_2.b", "0f3a9c", "-x"])
def test_a_plain_name_stays(name):
    assert file_name(name) == name


@pytest.mark.parametrize("text", HOSTILE)
def test_any_other_text_becomes_one_name_that_stays_in_its_folder(text, tmp_path):
    name = file_name(text)
    assert re.fullmatch(FILE_NAME, name)
    (tmp_path / "in" / name).mkdir(parents=True)
    assert [path.name for path in (tmp_path / "in").iterdir()] == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_texts_that_differ_have_names_that_differ():
    names = [file_name(text) for text in (*HOSTILE, *map(file_name, HOSTILE[:3]))]
    assert len(set(names)) == len(HOSTILE) + 3, "a name with a digest is plain no more"


@given(st.text())
def test_every_text_has_a_valid_name(text):
    assert re.fullmatch(FILE_NAME, file_name(text))
