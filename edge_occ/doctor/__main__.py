"""``python -m edge_occ.doctor``: the diagnosis in plain text, where numpy, OpenCV, typer or rich do not load."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from edge_occ.doctor import diagnose


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the diagnosis, with the default broker, and return the exit status; the only argument is ``--json``."""
    diagnosis = diagnose()
    if "--json" in (sys.argv[1:] if arguments is None else arguments):
        text = json.dumps(diagnosis.as_json(), ensure_ascii=False)
    else:
        text = "\n".join(line for _, line in diagnosis.lines())
    sys.stdout.write(text + "\n")
    return diagnosis.exit_code


if __name__ == "__main__":
    sys.exit(main())
