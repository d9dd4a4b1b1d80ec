"""``python -m edge_occ.doctor``: the diagnosis where numpy, OpenCV, typer or rich do not load, in plain text."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from edge_occ.doctor import diagnose


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the diagnosis, with the default broker; the only argument understood is ``--json``.

    Returns:
        The exit status.
    """
    report = diagnose()
    if "--json" in (sys.argv[1:] if arguments is None else arguments):
        text = json.dumps(report.as_json(), ensure_ascii=False)
    else:
        text = "\n".join(line for _, line in report.lines())
    sys.stdout.write(text + "\n")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
