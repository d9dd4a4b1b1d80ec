"""What the doctor says: a list of checks, the engine that would run, and whether ``edge-occ run`` can work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

WRONG_SETUP, NO_ENGINE = 2, 4
"""Exit statuses: something that ``edge-occ run`` cannot do without; no engine at all."""


class State(str, Enum):
    """What was found: good, not there, there but unusable, or just worth knowing."""

    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"
    NOTE = "note"


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what was looked at, in a word or two.
        state: how it is.
        found: what was found, in one line.
        fix: the command that mends it, ready to be copied; ``None`` where none does.
        needed: whether ``edge-occ run`` cannot work unless this is well.
    """

    name: str
    state: State
    found: str
    fix: str | None = None
    needed: bool = False

    @property
    def failed(self) -> bool:
        """Whether something is missing or wrong; a note is neither."""
        return self.state in (State.MISSING, State.WRONG)


@dataclass(frozen=True)
class EngineChoice:
    """What ``--engine auto`` would take here, as far as can be told without loading a bundle.

    Attributes:
        name: ``tensorrt``, ``cpu``, or ``None`` if no engine would load.
        why: in words.
    """

    name: str | None
    why: str


@dataclass(frozen=True)
class Report:
    """Everything that was found."""

    checks: tuple[Check, ...]
    engine: EngineChoice

    @property
    def exit_code(self) -> int:
        """0 if ``edge-occ run`` can work here."""
        if self.engine.name is None:
            return NO_ENGINE
        return WRONG_SETUP if any(check.failed and check.needed for check in self.checks) else 0

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "ok": self.exit_code == 0,
            "checks": [
                {"name": check.name, "state": check.state.value, "found": check.found, "fix": check.fix}
                for check in self.checks
            ],
            "engine": {"name": self.engine.name, "why": self.engine.why},
        }

    def lines(self) -> Iterator[tuple[State | None, str]]:
        """For people: each line, and the state by whose word it begins; commands have a line of their own."""
        width = max(len(check.name) for check in self.checks)
        for check in self.checks:
            yield check.state, f"{check.state.value:<7}  {check.name:<{width}}  {check.found}"
            if check.fix is not None:
                yield None, f"    {check.fix}"
        yield None, ""
        yield None, f"engine: {self.engine.name or 'none'}, as {self.engine.why}"
        yield None, self._verdict()

    def _verdict(self) -> str:
        failed = [check for check in self.checks if check.failed]
        in_the_way = [check.name for check in failed if check.needed]
        if self.engine.name is None:
            in_the_way.append("no engine")
        if in_the_way:
            return f"edge-occ run cannot work here yet; in the way: {', '.join(in_the_way)}"
        others = ", ".join(check.name for check in failed)
        return "edge-occ run can work here" + (f"; to mend: {others}" if others else "")
