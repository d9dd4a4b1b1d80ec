"""The watchdog, alone and in a run that hangs."""

import os
import shutil
import subprocess
import sys
from queue import Queue

import pytest

from edge_occ.common.errors import Hung
from edge_occ.runtime.heartbeat import FILE, SECONDS
from edge_occ.runtime.watchdog import Watchdog


def test_without_a_first_sign_of_life_it_ends():
    ended = Queue()
    Watchdog(0.001, first=0.002, end=ended.put)
    error = ended.get(timeout=20)
    assert isinstance(error, Hung)
    assert "a first frame" in error.expected


def test_after_the_first_sign_the_shorter_time_counts():
    ended = Queue()
    watchdog = Watchdog(0.001, first=3600, end=ended.put)
    watchdog.reset()
    error = ended.get(timeout=20)
    assert error.found == "none inspected for 0.001 s"


def test_signs_put_it_off_and_closing_ends_the_watch():
    ended = Queue()
    watchdog = Watchdog(3600, first=3600, end=ended.put)
    for _ in range(100):
        watchdog.reset()
    watchdog.close()
    assert ended.empty()


@pytest.mark.parametrize("ends", [True, False], ids=["hangs", "goes on"])
def test_a_run_that_hangs_ends_with_its_own_status_and_says_so(tiny_bundle, tiny_data, tmp_path, ends):
    """The source gives a picture every 100 seconds: to the loop, as a driver that hangs."""
    source = f"{tiny_data / 'test' / 'spot'}" + ("?fps=0.01" if ends else "")
    command = [sys.executable, "-m", "edge_occ", "run", "--source", source, "--bundle", str(tiny_bundle), "--no-mqtt"]
    variables = {**os.environ, SECONDS: "1" if ends else "600", FILE: str(tmp_path / "alive")}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert (tmp_path / "alive").exists()
    if not ends:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == Hung.exit_code == 7, done.stderr
    lines = done.stderr.splitlines()[-3:]
    assert [line.split()[0] for line in lines] == ["expected", "found", "next"]
    assert "none inspected for 1 s" in lines[1]
    assert SECONDS in lines[2]


def test_an_engine_that_hangs_ends_the_run_though_a_watched_folder_waits_for_pictures(tiny_bundle, tiny_data, tmp_path):
    """The folder is looked at several times a second by a thread of its own, which is a sign of life between frames."""
    watched = tmp_path / "watched"
    shutil.copytree(tiny_data / "test" / "spot", watched)
    program = (
        "import sys, time\n"
        "from edge_occ.__main__ import main\n"
        "from edge_occ.runtime.inspector import score_frame\n"
        "from edge_occ.runtime import inspector\n"
        "left = [2]\n"
        "def hang(engine, image):\n"
        "    if left[0] == 0:\n"
        "        time.sleep(3600)\n"
        "    left[0] -= 1\n"
        "    return score_frame(engine, image)\n"
        "inspector.score_frame = hang\n"
        "main()\n"
    )
    sources = ["--source", f"left={watched}?watch=all", "--source", f"right={tmp_path}/empty?watch=1"]
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-c", program, "run", *sources, "--bundle", str(tiny_bundle), "--no-mqtt"]
    done = subprocess.run(command, env={**os.environ, SECONDS: "2"}, capture_output=True, text=True, timeout=120)
    assert done.returncode == Hung.exit_code, done.stderr
    assert "none inspected for 2 s" in done.stderr
