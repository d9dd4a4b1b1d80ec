"""Evidence is whole whatever happens: kills and failures at every step, kills at random, a second inspector."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from evidence_faults import check_reopened, check_whole, keep_events, store

TESTS = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """In memory if possible: a disk takes its time for every fsync."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)


def faults(mode: str, folder: Path) -> int:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    command = [sys.executable, str(TESTS / "evidence_faults.py"), mode, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("mode", ["exit", "fail"])
def test_at_every_step_of_the_file_system(folder, mode):
    assert faults(mode, folder) > 50, "so many steps"
    assert check_whole(folder / "left") > 0


def test_fifty_kills_at_random(folder):
    assert faults("kill", folder) > 0, "some pieces were written before a kill"


def test_the_check_finds_what_is_not_whole(folder):
    """The tests above would be content with a check that finds nothing."""
    keep_events(store(folder), 1, 2)
    whole = [path for path in sorted((folder / "left").glob("*/*/start-*")) if path.is_dir()]
    for name, damage in [
        ("frame.png", lambda path: path.write_bytes(path.read_bytes()[:-20])),
        ("heatmap.jpg", lambda path: path.write_bytes(path.read_bytes()[:-1])),
        ("record.json", lambda path: path.write_bytes(path.read_bytes()[:-3])),
        ("frame.png", lambda path: path.unlink()),
    ]:
        content = (whole[0] / name).read_bytes()
        damage(whole[0] / name)
        with pytest.raises((AssertionError, ValueError)):
            check_whole(folder / "left")
        (whole[0] / name).write_bytes(content)
    check_reopened(folder / "left")
