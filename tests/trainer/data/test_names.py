import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.names import printable


@pytest.mark.parametrize(
    ("name", "text"),
    [(b"Pr\xfcfteile", r"Pr\xfcfteile"), ("Prüfteile".encode(), "Prüfteile"), (b"\xff\xfe", r"\xff\xfe")],
)
def test_bytes_that_are_no_utf8_are_written_as_numbers(name, text):
    assert printable(os.fsdecode(name)) == text


@given(st.binary(max_size=20).filter(lambda name: b"\\" not in name))
def test_any_name_can_be_written_and_different_names_stay_different(name):
    text = printable(name.decode("utf-8", "surrogateescape")).encode()
    assert re.sub(rb"\\x(..)", lambda found: bytes([int(found[1], 16)]), text) == name


@given(st.text(max_size=20))
def test_text_is_unchanged(text):
    assert printable(text) == text
