"""The lock file."""

import os
import subprocess
import sys

import pytest

from edge_occ.common.lock import Locked, locked

HOLD = """
import sys
from pathlib import Path
from edge_occ.common.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_and_learns_of_the_first(tmp_path):
    with locked(tmp_path / "lock"), pytest.raises(Locked, match=str(os.getpid())), locked(tmp_path / "lock"):
        pytest.fail("held twice")
    with locked(tmp_path / "lock"):
        pass


def test_a_process_that_is_killed_holds_nothing(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(Locked) as refused, locked(tmp_path / "lock"):
            pytest.fail("held twice")
        assert refused.value.process == str(process.pid)
        process.kill()
    with locked(tmp_path / "lock"):
        pass


def test_neither_a_missing_folder_nor_a_link_is_opened(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for path in (tmp_path / "none" / "lock", tmp_path / "link"):
        with pytest.raises(OSError, match=path.name), locked(path):
            pytest.fail("opened")
    assert not (tmp_path / "target").exists()
