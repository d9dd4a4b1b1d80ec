"""Text from elsewhere made safe for a terminal: file names, bundles, messages."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, of marks that show nothing but turn the direction of what follows, of
halves of characters (bytes of a file name that are no UTF-8), and of what breaks a line."""

_JOINERS = "\u200c\u200d"
"""Marks of the same kind that words of Persian or Hindi and many emoji are written with; they move nothing."""


def printable(text: str) -> str:
    r"""One line that a terminal only shows.

    What would move its cursor, colour it, name its window or turn the direction of writing appears as an escape, as
    ``\x1b`` or ``\u202e``.
    """
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")
