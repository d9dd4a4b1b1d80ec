"""The diagnosis: a list of checks, the engine that would run, and whether ``edge-occ run`` can work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

SETUP_BROKEN, NO_ENGINE = 2, 4
"""Exit statuses: a part that ``edge-occ run`` needs does not work; no engine loads."""


class CheckState(str, Enum):
    """Result of a check: good, not there, there but unusable, or a remark."""

    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"
    NOTE = "note"


OK, MISSING, WRONG, NOTE = CheckState


@dataclass(frozen=True)
class Check:
    """One part of the machine, and what was found.

    Attributes:
        name: the part, in a word or two.
        state: its state.
        found: what was found, in one line.
        fix: the command that mends it, ready to be copied; ``None`` where there is none.
        needed: whether ``edge-occ run`` cannot work without it.
    """

    name: str
    state: CheckState
    found: str
    fix: str | None = None
    needed: bool = False

    @property
    def failed(self) -> bool:
        """True if the part is missing or wrong; a note is neither."""
        return self.state in (MISSING, WRONG)


@dataclass(frozen=True)
class EngineChoice:
    """The engine that ``--engine auto`` would use, ``tensorrt``, ``cpu`` or ``None``, and the reason."""

    name: str | None
    why: str


@dataclass(frozen=True)
class Diagnosis:
    """All checks and the engine."""

    checks: tuple[Check, ...]
    engine: EngineChoice

    @property
    def exit_code(self) -> int:
        """0 if ``edge-occ run`` can work here."""
        if self.engine.name is None:
            return NO_ENGINE
        return SETUP_BROKEN if any(check.failed and check.needed for check in self.checks) else 0

    def as_json(self) -> dict[str, Any]:
        """Return the diagnosis for scripts."""
        fields = ("name", "state", "found", "fix")
        return {
            "ok": self.exit_code == 0,
            "checks": [{field: getattr(check, field) for field in fields} for check in self.checks],
            "engine": {"name": self.engine.name, "why": self.engine.why},
        }

    def lines(self) -> Iterator[tuple[CheckState | None, str]]:
        """Yield each line of text, and the state by whose word it begins; commands have a line of their own."""
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
        in_the_way = [check.name for check in failed if check.needed] + ["no engine"] * (self.engine.name is None)
        if in_the_way:
            return f"edge-occ run cannot work here yet; in the way: {', '.join(in_the_way)}"
        return "edge-occ run can work here" + (
            f"; to mend: {', '.join(check.name for check in failed)}" if failed else ""
        )
