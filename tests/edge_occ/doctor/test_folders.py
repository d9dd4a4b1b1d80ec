"""The checks of the folders."""

import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_occ.doctor.folders import check_cache, check_current, check_folders
from edge_occ.doctor.machine import Machine
from edge_occ.doctor.report import CheckState

PC = Machine()
GB = 1 << 30


@pytest.fixture
def no_permission(monkeypatch):
    """This user cannot write anywhere; root, who runs tests in containers, always can."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    cache = tmp_path / "a" / "b"
    check = check_cache(PC, cache)
    assert (check.state, check.fix) == (CheckState.OK, None)
    free = float(check.found.removeprefix(f"{cache}, ").removesuffix(" GB free"))
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free / 1e9, rel=0.5)
    assert not cache.parent.exists()


def test_everybody_may_write_to_the_cache(tmp_path):
    cache = tmp_path / "my cache"
    cache.mkdir()
    cache.chmod(0o777)
    check = check_cache(PC, cache)
    assert check.state is CheckState.WRONG
    subprocess.run(["sh", "-c", check.fix], check=True)
    assert check_cache(PC, cache).state is CheckState.OK
    # A folder above may be open to all, as /tmp is.
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert check_cache(PC, tmp_path / "open" / "cache").state is CheckState.OK


def test_a_cache_without_permission(tmp_path, no_permission):
    check = check_cache(PC, tmp_path)
    assert (check.state, check.fix) == (CheckState.WRONG, f"sudo install -d -m 700 -o $(id -un) {tmp_path}")
    assert "no permission to write" in check.found


def test_a_cache_of_another_user(tmp_path, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    cache = tmp_path / "cache"
    cache.mkdir()
    os.chown(cache, 12345, -1)
    check = check_cache(PC, cache)
    assert (check.state, check.fix) == (CheckState.WRONG, f"sudo install -d -m 700 -o $(id -un) {cache}")
    assert "belongs to another user" in check.found
    assert check_cache(PC, cache / "below").state is CheckState.OK


def test_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=GB // 2))
    check = check_cache(PC, tmp_path)
    assert (check.state, check.fix) == (CheckState.WRONG, None)
    assert "0.5 GB free; building an engine needs 1 GB" in check.found


def test_the_command_that_makes_a_cache(tmp_path, no_permission):
    cache = tmp_path / "e e" / "cache"
    subprocess.run(["sh", "-c", check_cache(Machine(root=True), cache).fix], check=True)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert cache.stat().st_uid == os.geteuid()


def test_both_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache, current = check_folders(PC)
    assert cache.found.startswith(str(tmp_path / "cache" / "edge-occ" / "engines"))
    assert (current.state, current.name) == (CheckState.OK, "this folder")


def test_a_current_folder_without_permission(no_permission):
    check = check_current(Path.cwd())
    assert (check.state, check.fix) == (CheckState.NOTE, "cd ~")
