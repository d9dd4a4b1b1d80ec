"""Progress of long work: a bar on a terminal, a line every ten seconds where the output is a file.

Of several processes started by ``torchrun``, which sets ``RANK``, only the first shows progress.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edge_occ.common.clock import SYSTEM_CLOCK, Clock

_LINE_SECONDS = 10.0


class ProgressReport:
    """Progress of one task on standard error; a context manager.

    Args:
        title: name of the task.
        total: number of its steps.
        done: steps done by an earlier run.
        clock: replaced in tests.
    """

    def __init__(self, title: str, total: int, done: int = 0, clock: Clock = SYSTEM_CLOCK) -> None:
        self._title, self._total, self._done, self._first = title, total, done, done
        self._clock = clock
        console = Console(stderr=True)
        self._bar: Progress | None = None
        self._silent = os.environ.get("RANK", "0") != "0"
        if console.is_terminal and not self._silent:
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            note = TextColumn("{task.fields[note]}")
            self._bar = Progress(TextColumn("{task.description}"), *columns, note, console=console)
            self._task = self._bar.add_task(title, total=total, completed=done, note="")

    def __enter__(self) -> ProgressReport:
        self._start = self._last_line = self._clock.monotonic()
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Count ``steps`` as done; ``note`` is shown with the count, for instance the loss."""
        self._done += steps
        now = self._clock.monotonic()
        rate = (self._done - self._first) / max(now - self._start, 1e-9)
        if self._bar:
            self._bar.update(self._task, completed=self._done, note=f"{rate:.1f}/s {note}")
        elif not self._silent and (now - self._last_line >= _LINE_SECONDS or self._done == self._total):
            self._last_line = now
            left = (self._total - self._done) / max(rate, 1e-9)
            line = f"{self._title}: {self._done}/{self._total}, {rate:.1f}/s, {left:.0f} s left"
            sys.stderr.write(f"{line}, {note}\n" if note else f"{line}\n")
            sys.stderr.flush()


class PhaseReport:
    """Progress of work in named phases on standard error; a context manager and an ``engines.base.Progress``.

    Args:
        on_phase: called with the name of each phase when it begins.
    """

    _STEPS = 100

    def __init__(self, on_phase: Callable[[str], None] = lambda _phase: None) -> None:
        self._on_phase = on_phase
        self._what, self._done = "", 0
        self._report: ProgressReport | None = None

    def __enter__(self) -> PhaseReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._report is not None:
            self._report.__exit__(kind, error, trace)

    @property
    def shown(self) -> bool:
        """Return whether there has been a phase."""
        return self._report is not None

    def __call__(self, what: str, done: float) -> None:
        """Show that the share ``done`` of the phase ``what`` is done, 0 to 1."""
        if self._report is None or what != self._what:
            self.__exit__(None, None, None)
            self._what, self._done = what, 0
            self._report = ProgressReport(what, self._STEPS).__enter__()
            self._on_phase(what)
        steps = int(done * self._STEPS) - self._done
        if steps > 0:
            self._done += steps
            self._report.advance(steps=steps)
