"""Entry point of ``edge-occ`` and of ``python -m edge_occ``."""

from __future__ import annotations

import sys

from edge_occ.streams import forgiving_streams

_SYSTEM_LIBRARIES = {"libGL": "apt install libgl1", "libgthread": "apt install libglib2.0-0"}


def main() -> None:
    """Run the command line, or say which library is missing."""
    with forgiving_streams():
        _main()


def _main() -> None:
    try:
        from edge_occ.cli import app  # noqa: PLC0415 - so that a missing library can be told
    except ImportError as error:
        if sys.argv[1:2] == ["doctor"]:
            from edge_occ.doctor.__main__ import main as doctor  # noqa: PLC0415 - needs nothing that could be missing

            sys.exit(doctor(sys.argv[2:]))
        found = str(error)
        advice = next((command for name, command in _SYSTEM_LIBRARIES.items() if name in found), "edge-occ doctor")
        for label, text in (("expected", "the libraries that edge-occ needs"), ("found", found), ("next", advice)):
            sys.stderr.write(f"{label:>9}  {text}\n")
        sys.exit(2)
    app()


if __name__ == "__main__":
    main()
