"""Files of a folder, and the content of a file."""

import hashlib

import pytest

from edge_occ.common.errors import InputError
from trainer.protocols.formats.files import content_hash, first_there, missing, read_bounded

LAYOUT = (("a", "sub/a"), ("b/", "sub/b/"), ("c",))


def test_layouts_take_either_name_and_tell_files_from_folders(tmp_path):
    assert missing(tmp_path, LAYOUT) == ["a", "b/", "c"]
    (tmp_path / "sub" / "b").mkdir(parents=True)
    (tmp_path / "sub" / "a").touch()
    (tmp_path / "c").mkdir()  # a folder where a file should be
    assert missing(tmp_path, LAYOUT) == ["c"]
    assert first_there(tmp_path, LAYOUT[0]) == tmp_path / "sub" / "a"
    (tmp_path / "a").touch()
    assert first_there(tmp_path, LAYOUT[0]) == tmp_path / "a"
    assert first_there(tmp_path, LAYOUT[1]) == tmp_path / "sub" / "b"


def test_reading_has_a_bound(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5, "") == b"12345"
    with pytest.raises(InputError, match=r"at most 4 bytes in .*found 5 bytes; get it"):
        read_bounded(path, 4, "get it")
    with pytest.raises(InputError, match="Is a directory"):
        read_bounded(tmp_path, 4, "")


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1])
def test_hashes_of_pieces_are_hashes_of_the_whole(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    assert content_hash(path) == hashlib.sha256(bytes(size)).hexdigest()
    with pytest.raises(InputError, match="No such file"):
        content_hash(tmp_path / "none")
