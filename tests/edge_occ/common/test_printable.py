"""Foreign text on a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Grün, 漢字, 👍🏽", "plain, Grün, 漢字, 👍🏽"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x9b31m", "\\x9b31m"),  # a C1 control is an escape sequence by itself
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2066\u2069\u200f\u061c", "\\u2066\\u2069\\u200f\\u061c"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("caf\udce9.png", "caf\\udce9.png"),  # a byte of a file name that is no UTF-8
        ("\x7f\x00", "\\x7f\\x00"),
        ("👩\u200d🔧", "👩\u200d🔧"),
    ],
)
def test_what_moves_or_hides_is_an_escape_and_all_else_stays(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters(categories=None, codec=None)))
def test_any_text_is_one_line_that_can_be_written(text):
    shown = printable(text)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in shown)
    assert not any(unicodedata.bidirectional(character) in _TURNS for character in shown)


_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
