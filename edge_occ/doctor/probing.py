"""Looking at things that may crash, hang or raise: children for what is imported, threads for everything else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any, Generic, TypeVar

PATIENCE = 8.0
"""Seconds a child may take: importing OpenCV from a cold SD card takes several."""
_LIMIT = 1 << 18
"""Bytes read of what a child says."""

_PRELUDE = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop())
def say(**facts):
    print("\\n" + json.dumps(facts), flush=True)
"""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """What a child said before it ended.

    Attributes:
        output: its standard output.
        errors: its standard error.
        fault: why it failed, in one line; empty if it did not.
        facts: what Python code told with ``say``.
    """

    output: str = ""
    errors: str = ""
    fault: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def ask(command: Sequence[str], seconds: float = PATIENCE) -> Answer:
    """Run a program without input; never raises, and ends the program, with its children, after ``seconds``."""
    # Files, as a pipe would be held open by a grandchild that outlives its parent.
    with TemporaryFile() as output, TemporaryFile() as errors:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError as error:
            return Answer(fault=error.strerror or str(error))
        late = False
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            late = True
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        said, complained = _read(output), _read(errors)
        fault = f"no answer within {seconds:g} s" if late else _fault(child.returncode, complained)
        return Answer(said, complained, fault)


def ask_python(code: str, seconds: float = PATIENCE) -> Answer:
    """Run code in a Python that finds the same packages as this one; it tells facts by ``say(name=value)``.

    What was told before a crash is kept.
    """
    answer = ask([sys.executable, "-c", _PRELUDE + code, json.dumps(sys.path)], seconds)
    facts: dict[str, Any] = {}
    for line in answer.output.splitlines():
        if line.startswith("{"):
            try:
                facts.update(json.loads(line))
            except ValueError:  # an imported library printed it, or it was cut off
                continue
    return Answer(answer.output, answer.errors, answer.fault, facts)


class Pending(Generic[Result]):
    """Work in a thread of its own, for which nobody waits longer than they want to.

    Args:
        work: what to do.
        failed: makes a result of the words for what went wrong.
    """

    def __init__(self, work: Callable[[], Result], failed: Callable[[str], Result]) -> None:
        self._work, self._failed = work, failed
        self._result: Result | None = None
        # A daemon, as a name server or a network disk that does not answer must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, deadline: float) -> Result:
        """The result, or that of a failure after ``deadline``, a moment of :func:`time.monotonic`."""
        self._thread.join(max(deadline - time.monotonic(), 0.0))
        return self._failed("no answer in time") if self._result is None else self._result

    def _run(self) -> None:
        try:
            self._result = self._work()
        except Exception as error:  # noqa: BLE001 - whatever is broken here, the other checks go on
            self._result = self._failed(f"{type(error).__name__}: {error}")


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_LIMIT).decode(errors="replace")


def _fault(status: int, errors: str) -> str:
    if status == 0:
        return ""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    last = [line.strip() for line in errors.splitlines() if line.strip()]
    return last[-1] if last else f"exit status {status}"
