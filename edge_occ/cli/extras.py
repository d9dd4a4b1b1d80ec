"""Packages of optional extras."""

from __future__ import annotations

from importlib.util import find_spec

from edge_occ.common.errors import InputError


def require_extra(module: str, extra: str) -> None:
    """Check, without importing it, that a package of an extra is installed.

    Raises:
        InputError: it is not; the error says how to install the extra.
    """
    if find_spec(module) is None:
        raise InputError(
            f"the packages of the extra [{extra}]", f"no {module}", f"install them: pip install 'edge-occ[{extra}]'"
        )
