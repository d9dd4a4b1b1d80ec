"""Values of the options in a source's URI; each function raises an InputError for any other text."""

from __future__ import annotations

import math
import re

from edge_occ.common.errors import InputError


def watches_everything(text: str) -> bool:
    """Read the value of ``watch``: whether pictures that are there already come first."""
    if text not in ("1", "all"):
        raise InputError("watch=1 or watch=all", f"watch={text}", "write ?watch=1")
    return text == "all"


def rate(text: str) -> float:
    """Read frames a second, above 0, at most 1000."""
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= 1000:
        raise InputError("fps as a number above 0, at most 1000", f"fps={text}", "write, say, ?fps=10")
    return rate


def integer(name: str, text: str) -> int:
    """Read a number of pixels, 1 to 99,999."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) == 0:
        raise InputError(f"{name} as a number of pixels", f"{name}={text}", "write, say, ?width=1920&height=1080")
    return int(text)


def seconds(name: str, text: str) -> float:
    """Read seconds, ``never`` as infinity."""
    if text == "never":
        return math.inf
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text):
        raise InputError(f"{name} in seconds, or never", f"{name}={text}", f"write, say, ?{name}=60 or ?{name}=never")
    return float(text)


def switch(name: str, text: str) -> bool:
    """Read ``0`` or ``1``."""
    if text not in ("0", "1"):
        raise InputError(f"{name}=0 or {name}=1", f"{name}={text}", f"write ?{name}=1")
    return text == "1"
