"""Entry point of ``edge-occ`` and of ``python -m edge_occ``."""

from __future__ import annotations

import sys

from edge_occ.common.signals import ending_at_once
from edge_occ.common.streams import forgiving_streams

_SYSTEM_LIBRARIES = {"libGL": "apt install libgl1", "libgthread": "apt install libglib2.0-0"}


def main() -> None:
    """Run the command line, or print which library is missing."""
    with ending_at_once(), forgiving_streams():
        try:
            from edge_occ.cli import app  # noqa: PLC0415 - so that a missing library can be reported
        except ImportError as error:
            sys.exit(_report(error))
        app()


def _report(missing: ImportError) -> int:
    """Print which library is missing, or run ``doctor``, which works without it; return the exit status."""
    if sys.argv[1:2] == ["doctor"]:
        from edge_occ.doctor.__main__ import main as doctor  # noqa: PLC0415 - imports only the standard library

        return doctor(sys.argv[2:])
    found = str(missing)
    advice = next((command for name, command in _SYSTEM_LIBRARIES.items() if name in found), "edge-occ doctor")
    for label, text in (("expected", "the libraries that edge-occ needs"), ("found", found), ("next", advice)):
        sys.stderr.write(f"{label:>9}  {text}\n")
    return 2


if __name__ == "__main__":
    main()
