"""Looking at the dashboard's page in a real browser."""

import os
import time
from pathlib import Path

PATIENCE = 60
AXE = Path(os.environ.get("EDGE_OCC_TEST_AXE", "node_modules/axe-core/axe.min.js"))
"""The checker of accessibility: npm install axe-core."""


def until(window, script, what, *arguments):
    """Wait until a script returns something true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := window.run(script, *arguments)):
        assert time.monotonic() < deadline, f"waited in vain for {what}: {window.text('body')}"
        time.sleep(0.05)
    return found


def tile(window, device, expression):
    """The value of an expression of the tile ``t`` of a device; null without one."""
    script = (
        "const t = [...document.querySelectorAll('.tile')]"
        ".find(t => t.querySelector('.device').textContent === arguments[0]);"
        f"return t ? ({expression}) : null"
    )
    return window.run(script, device)


def until_tile(window, device, expression, wanted=True):
    deadline = time.monotonic() + PATIENCE
    while (found := tile(window, device, expression)) != wanted:
        assert time.monotonic() < deadline, f"{expression} of {device} is {found!r}: {window.text('body')}"
        time.sleep(0.05)


def violations(window, axe):
    window.run(axe + "; window.axe = axe; window.found = null; axe.run().then(r => found = r.violations)")
    found = until(window, "return window.found && {all: window.found}", "axe")["all"]
    return [(rule["id"], rule["help"], [node["html"][:200] for node in rule["nodes"]][:4]) for rule in found]
