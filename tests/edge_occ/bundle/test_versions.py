"""Earlier versions of a bundle: kept, put back, bounded, and whole whenever a process dies."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from edge_occ.bundle import versions
from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.versions import file_digest, replace_bundle, roll_back, versions_of
from edge_occ.common.errors import BundleRefused, InputError


@pytest.fixture
def path(tiny_bundle, tmp_path):
    """A copy, to be changed."""
    return shutil.copy(tiny_bundle, tmp_path / "part.occ")


def variant(bundle, number):
    """The same bundle under another command of its training."""
    training = bundle.manifest.training.model_copy(update={"command": f"edge-occ train {number}"})
    return Bundle(bundle.manifest.model_copy(update={"training": training}), bundle.members)


def number_of(path):
    return int(read_bundle(path).manifest.training.command.split()[-1])


def replace_times(path, times):
    bundle = read_bundle(path)
    for number in range(1, times + 1):
        replace_bundle(path, variant(bundle, number))


def test_the_current_bundle_is_the_file_itself_and_a_rollback_goes_one_further_each_time(path):
    original = path.read_bytes()
    replace_times(path, 2)
    assert number_of(path) == 2
    kept = versions_of(path)
    assert [version.number for version in kept] == [2, 1]
    assert kept[1].path.read_bytes() == original
    assert all(file_digest(version.path).startswith(version.digest) for version in kept)
    assert all(version.path.parent == path.parent / "part.versions" for version in kept)
    assert roll_back(path).number == 2
    assert number_of(path) == 1
    assert roll_back(path).number == 1
    assert path.read_bytes() == original
    with pytest.raises(InputError, match=r"an earlier version of part\.occ"):
        roll_back(path)
    assert path.read_bytes() == original


def test_a_new_place_has_no_earlier_version(path, tmp_path):
    replace_bundle(tmp_path / "new.occ", read_bundle(path))
    assert versions_of(tmp_path / "new.occ") == []
    assert read_bundle(tmp_path / "new.occ").manifest == read_bundle(path).manifest
    with pytest.raises(InputError, match="a bundle at"):
        roll_back(tmp_path / "none.occ")


def test_old_versions_are_dropped_by_number_and_by_size(path, monkeypatch):
    replace_times(path, 8)
    assert [version.number for version in versions_of(path)] == [8, 7, 6, 5, 4]
    monkeypatch.setattr(versions, "MAX_BYTES", 5 * path.stat().st_size // 2)
    replace_times(path, 1)
    assert [version.number for version in versions_of(path)] == [9, 8]
    monkeypatch.setattr(versions, "MAX_BYTES", 1)
    replace_times(path, 1)
    assert [version.number for version in versions_of(path)] == [10]


def test_other_files_in_the_folder_stay_and_are_no_versions(path):
    replace_times(path, 1)
    folder = path.parent / "part.versions"
    (folder / "notes.txt").write_text("mine")
    (folder / "0009-20260102T030405Z-0123456789abcdef.occ").mkdir()
    assert [version.number for version in versions_of(path)] == [1]
    replace_times(path, 7)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_damaged_version_is_not_put_back(path):
    replace_times(path, 1)
    (kept,) = versions_of(path)
    current = path.read_bytes()
    kept.path.write_bytes(kept.path.read_bytes()[:-1])
    with pytest.raises(BundleRefused, match="another content"):
        roll_back(path)
    assert path.read_bytes() == current


def test_a_version_that_was_put_aside_before_the_process_died_is_passed_over(path):
    replace_times(path, 2)
    at = versions_of(path)[0]
    again = at.path.with_name(f"0003-20260102T030405Z-{file_digest(path)[:16]}.occ")
    os.link(path, again)
    assert roll_back(path).number == 2
    assert number_of(path) == 1


def test_file_systems_without_links_get_a_copy(path, monkeypatch):
    def refuse(*_args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(versions.os, "link", refuse)
    original = path.read_bytes()
    replace_times(path, 1)
    (kept,) = versions_of(path)
    assert kept.path.read_bytes() == original
    assert list(kept.path.parent.iterdir()) == [kept.path]


def test_a_place_that_cannot_be_written_leaves_everything(path):
    (path.parent / "part.versions").write_text("a file in the place of the folder")
    original = path.read_bytes()
    with pytest.raises(InputError, match="can be written"):
        replace_times(path, 1)
    assert path.read_bytes() == original


@pytest.mark.long
def test_a_killed_process_leaves_a_whole_bundle(path):
    """kill -9 at any moment of replacements and rollbacks; children are forked, as importing takes long."""
    program = """
        import os, random, signal, sys, time
        from pathlib import Path
        from edge_occ.bundle.bundle import Bundle, read_bundle
        from edge_occ.bundle.versions import replace_bundle, roll_back, versions_of

        path, chance = Path(sys.argv[1]), random.Random(0)
        bundle = read_bundle(path)

        def work():
            number = 0
            while True:
                number += 1
                training = bundle.manifest.training.model_copy(update={"command": f"{os.getpid()} {number}"})
                replace_bundle(path, Bundle(bundle.manifest.model_copy(update={"training": training}), bundle.members))
                if number % 3 == 0:
                    roll_back(path)

        seen, whole = set(), set()
        for _ in range(30):
            child = os.fork()
            if child == 0:
                work()
            time.sleep(chance.uniform(0, 0.06))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            seen.add(read_bundle(path).manifest.training.command)
            for version in versions_of(path):
                state = version.path.stat()
                # One that was whole and was not written since is whole.
                if (state.st_ino, state.st_mtime_ns, state.st_size) not in whole:
                    read_bundle(version.path)
                    whole.add((state.st_ino, state.st_mtime_ns, state.st_size))
        roll_back(path)
        read_bundle(path)
        print(len(seen))
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 5
