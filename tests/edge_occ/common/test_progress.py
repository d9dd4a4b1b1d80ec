"""Progress where there is no terminal, and where there is one."""

import contextlib
import os
import pty
import subprocess
import sys

from edge_occ.common.clock import ManualClock
from edge_occ.common.progress import PhaseReport, ProgressReport


def test_the_last_step_always_has_a_line(capsys):
    clock = ManualClock()
    with ProgressReport("reading", 3, clock=clock) as report:
        for _ in range(3):
            clock.advance(0.5)
            report.advance()
    assert capsys.readouterr().err == "reading: 3/3, 2.0/s, 0 s left\n"


def test_a_line_comes_every_ten_seconds_with_the_rate_of_this_run_and_the_note(capsys):
    clock = ManualClock()
    with ProgressReport("training", 100, done=40, clock=clock) as report:
        for step in range(9):
            clock.advance(4)
            report.advance(f"loss {step}", steps=2)
    assert capsys.readouterr().err.splitlines() == [
        "training: 46/100, 0.5/s, 108 s left, loss 2",
        "training: 52/100, 0.5/s, 96 s left, loss 5",
        "training: 58/100, 0.5/s, 84 s left, loss 8",
    ]


def test_nothing_goes_to_standard_output(capsys):
    with ProgressReport("reading", 1) as report:
        report.advance()
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar():
    code = (
        "from edge_occ.common.progress import PhaseReport, ProgressReport\n"
        "with ProgressReport('training', 2) as report:\n"
        "    report.advance('loss 0.50'); report.advance('loss 0.25')\n"
    )
    terminal, other_end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    subprocess.run([sys.executable, "-c", code], stderr=other_end, env=environment, check=True)
    os.close(other_end)
    shown = ""
    with contextlib.suppress(OSError):  # EIO at the end
        while part := os.read(terminal, 65536).decode():
            shown += part
    os.close(terminal)
    assert "training" in shown
    assert "2/2" in shown
    assert "loss 0.25" in shown


def test_phases_follow_each_other(capsys):
    begun = []
    with PhaseReport(begun.append) as phases:
        assert not phases.shown
        for done in (0.0, 0.25, 0.5, 1.0):
            phases("building", done)
        phases("measuring", 1.0)
        assert phases.shown
    assert begun == ["building", "measuring"]
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("building: 100/100, ")
    assert second.startswith("measuring: 100/100, ")


def test_progress_never_goes_backwards(capsys):
    with PhaseReport() as phases:
        for done in (0.5, 0.2, 1.0):
            phases("building", done)
    assert capsys.readouterr().err.startswith("building: 100/100, ")
