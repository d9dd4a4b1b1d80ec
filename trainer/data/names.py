r"""Names of files as text: bytes in them that are no UTF-8 are written as ``\xNN``, so that names stay different.

A name on a Linux disk is bytes.  Python holds those that are no UTF-8 as lone surrogates, which no file, manifest or
page can be written with.
"""

from __future__ import annotations


def printable(name: object) -> str:
    r"""The text of a path or of a message with paths in it: ``Pr\xfcfteile`` for a folder named in Latin-1.

    Text without such bytes is unchanged.
    """
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
