"""Text from outside the program, made safe for a terminal, a log or a file: file names, bundles, messages."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that are escaped: control characters, invisible format characters (some reverse the direction of
writing), surrogates (bytes of a file name that is not UTF-8), and line and paragraph separators."""

_JOINERS = "\u200c\u200d"
"""Format characters that are kept: Persian, Hindi and many emoji need them, and they have no effect on a terminal."""


def printable(text: object) -> str:
    r"""Return the text as one line of valid Unicode without control characters.

    Each escaped character becomes ``\x1b`` or ``\u202e``.  A byte of a file name that is not UTF-8, which Python holds
    as a surrogate, becomes ``\xfc``; so the text can be written anywhere, and different names stay different.

    Args:
        text: a string, or an object with a readable ``str()`` such as a path or an exception.
    """
    return "".join(map(_escaped, str(text)))


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN or character in _JOINERS:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    if 0x80 <= code < 0x100:
        return f"\\u{code:04x}"  # not \xNN, which is a byte
    return character.encode("unicode_escape").decode("ascii")
