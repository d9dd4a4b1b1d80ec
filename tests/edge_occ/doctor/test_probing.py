import os
import signal
import sys
import time
from pathlib import Path

import pytest

from edge_occ.doctor.probing import Pending, run_program, run_python


def test_facts_survive_a_crash_after_them():
    answer = run_python("report(numpy='1.21.5')\nimport os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert answer.facts == {"numpy": "1.21.5"}
    assert answer.fault == "ended by SIGSEGV"


def test_an_exception_is_reported_by_its_last_line_and_kept_whole():
    answer = run_python("import no_such_module_at_all")
    assert answer.fault == "ModuleNotFoundError: No module named 'no_such_module_at_all'"
    assert "Traceback" in answer.errors
    assert answer.facts == {}


def test_what_libraries_print_is_no_fact():
    code = "print('{not json')\nprint('x', end='')\nreport(a=1)\nprint('{\"cut\": ')\nreport(b=2)"
    assert run_python(code).facts == {"a": 1, "b": 2}


def test_the_child_finds_the_packages_of_this_process(tmp_path, monkeypatch):
    (tmp_path / "found_only_here.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run_python("import found_only_here\nreport(answer=found_only_here.answer)").facts == {"answer": 42}


def test_a_child_that_hangs_is_ended_with_its_children():
    answer = run_program(["sh", "-c", "sleep 600 & echo $!; wait"], seconds=2)
    assert answer.fault == "no answer within 2 s"
    assert _ended(int(answer.output))


def test_a_grandchild_that_holds_the_output_delays_nobody():
    answer = run_program(["sh", "-c", "sleep 600 & echo $!"], seconds=300)
    os.kill(int(answer.output), signal.SIGKILL)
    assert answer.fault == ""


def test_a_program_that_is_not_there_is_an_answer():
    assert run_program(["no-such-program-at-all"]).fault == "No such file or directory"
    assert run_program([sys.executable, "-c", "raise SystemExit(7)"]).fault == "exit status 7"


def test_output_without_end_is_bounded():
    answer = run_program(["sh", "-c", "head -c 2000000 /dev/zero"])
    assert len(answer.output) == 1 << 18


def test_pending_work_that_hangs_or_fails_gives_words():
    hanging = Pending(lambda: time.sleep(600), lambda words: words)
    assert hanging.take(time.monotonic()) == "no answer in time"

    def fail():
        raise OSError("disk gone")

    assert Pending(fail, lambda words: words).take(time.monotonic() + 60) == "OSError: disk gone"
    assert Pending(lambda: "done", lambda words: words).take(time.monotonic() + 60) == "done"


def _ended(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
            if status.rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    pytest.fail(f"process {pid} still runs")
