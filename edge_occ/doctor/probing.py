"""Probes of parts that may crash, hang or raise: child processes for imports, threads for everything else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from tempfile import TemporaryFile
from typing import IO, Any, Generic, TypeVar

PATIENCE = 20.0
"""Seconds a child may take: importing OpenCV from a cold SD card, or on a busy machine, takes many."""
_LIMIT = 1 << 18
"""Bytes read of a child's output."""

_PRELUDE = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop())
def report(**facts):
    print("\\n" + json.dumps(facts), flush=True)
"""

Result = TypeVar("Result")


@dataclass(frozen=True)
class ProbeResult:
    """Output of a child process.

    Attributes:
        output: its standard output.
        errors: its standard error.
        fault: the reason why it failed, in one line; empty if it did not.
        facts: the arguments of all its calls of ``report``.
    """

    output: str = ""
    errors: str = ""
    fault: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def run_program(command: Sequence[str], seconds: float | None = None) -> ProbeResult:
    """Run a program without input; never raises, and ends the program, with its children, after ``seconds``.

    ``None`` is :data:`PATIENCE`.
    """
    seconds = PATIENCE if seconds is None else seconds
    # Files, because a grandchild that outlives its parent would hold a pipe open.
    with TemporaryFile() as output, TemporaryFile() as errors:
        environment = {**os.environ, "LC_ALL": "C"}
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment, start_new_session=True
            )
        except OSError as error:
            return ProbeResult(fault=error.strerror or str(error))
        late = ""
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            late = f"no answer within {seconds:g} s"
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        messages = _read(errors)
        return ProbeResult(_read(output), messages, late or _fault(child.returncode, messages))


def run_python(code: str) -> ProbeResult:
    """Run code in a Python that finds the same packages as this one; it can call ``report(name=value)``.

    Facts that were reported before a crash are kept.
    """
    result = run_program([sys.executable, "-c", _PRELUDE + code, json.dumps(sys.path)])
    facts: dict[str, Any] = {}
    for line in result.output.splitlines():
        if line.startswith("{"):
            try:
                facts.update(json.loads(line))
            except ValueError:  # an imported library printed it, or it was cut off
                continue
    return replace(result, facts=facts)


class Pending(Generic[Result]):
    """Work in a thread of its own, whose result is awaited for a bounded time.

    Args:
        work: the work.
        failed: makes a result of the reason for a failure.
    """

    def __init__(self, work: Callable[[], Result], failed: Callable[[str], Result]) -> None:
        self._work, self._failed = work, failed
        self._result: Result | None = None
        # A daemon: a name server or a network disk that does not answer must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, deadline: float) -> Result:
        """Return the result, or that of a failure after ``deadline``, a moment of :func:`time.monotonic`."""
        self._thread.join(max(deadline - time.monotonic(), 0.0))
        return self._failed("no answer in time") if self._result is None else self._result

    def _run(self) -> None:
        try:
            self._result = self._work()
        except Exception as error:  # noqa: BLE001 - the other checks go on
            self._result = self._failed(f"{type(error).__name__}: {error}")


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_LIMIT).decode(errors="replace")


def _fault(status: int, errors: str) -> str:
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return (errors.strip().splitlines() or [f"exit status {status}"])[-1].strip() if status else ""
