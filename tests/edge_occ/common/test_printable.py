"""Text from outside the program, on a terminal and in a file."""

import re
import unicodedata
from pathlib import Path

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
        ("\x9b31m", "\\u009b31m"),  # a C1 control is an escape sequence by itself
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u2066\u2069\u200f\u061c", "\\u2066\\u2069\\u200f\\u061c"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("caf\udce9.png", "caf\\xe9.png"),  # a byte of a file name that is no UTF-8
        ("\ud800", "\\ud800"),  # a surrogate that stands for no byte
        (Path("folder/name"), "folder/name"),
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


@given(st.binary(max_size=20).filter(lambda name: b"\\" not in name))
def test_different_names_of_files_stay_different(name):
    """The bytes of a name can be found in its text."""
    text = printable(name.decode("utf-8", "surrogateescape"))

    def original(found):
        return bytes([int(found[1], 16)]) if found[1] else found[0].encode().decode("unicode_escape").encode()

    pieces = re.split(r"(\\(?:x..|u....|U........|[ntr]))", text)
    restored = b"".join(
        original(re.match(r"\\(?:x(..))?.*", piece)) if piece.startswith("\\") else piece.encode() for piece in pieces
    )
    assert restored == name


_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
