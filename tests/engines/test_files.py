"""Atomic writing."""

import os
import stat

import pytest

from engines.files import atomic_write


def test_the_file_appears_whole_with_its_folder(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic_write(path) as file:
        file.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, kind):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(kind), atomic_write(path) as file:
        file.write(b"new")
        raise kind
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_mode_is_what_the_umask_leaves_and_the_umask_is_never_touched(tmp_path, monkeypatch):
    """It belongs to the process: set for a moment, it would be so for every thread."""
    earlier = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", lambda _mask: pytest.fail("the umask was set"))
        with atomic_write(tmp_path / "file") as file:
            file.write(b"content")
    finally:
        monkeypatch.undo()
        os.umask(earlier)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_private_file_is_private_from_its_first_byte_on(tmp_path):
    with atomic_write(tmp_path / "plan", mode=0o600) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "plan").stat().st_mode) == 0o600


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    path, synced = tmp_path / "file", []

    def fsync(descriptor):
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_write(path) as file:
        file.write(b"content")
    assert synced == [(False, False), (True, True)]
