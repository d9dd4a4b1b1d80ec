"""Untrusted text, such as a level of a topic, as the name of one file or folder."""

from __future__ import annotations

import re
from hashlib import sha256

FILE_NAME = r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,63}"
"""Regular expression of the names that :func:`file_name` returns: no separator, no leading dot."""


def file_name(text: str) -> str:
    """Return text as a name that stays in its folder: unchanged if it is a plain name, else with a digest of the text.

    Different texts have different names; on a file system that ignores case, texts that differ in case alone may not.
    """
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", text):
        return text
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:48] + f"~{digest}"
