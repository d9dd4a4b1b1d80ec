"""Secrets of the environment and of the files that it names."""

from __future__ import annotations

import pytest

from edge_occ.common.errors import InputError
from edge_occ.common.secret import secret


def test_a_secret_is_a_variable_or_the_first_line_of_a_file(tmp_path):
    file = tmp_path / "password"
    file.write_bytes("p\u00e4ss word\r\nsecond line\n".encode())
    assert secret("A", {}) is None
    assert secret("A", {"A": "", "A_FILE": ""}) is None
    assert secret("A", {"A": "x y"}) == "x y"
    assert secret("A", {"A_FILE": str(file)}) == "p\u00e4ss word"


@pytest.mark.parametrize(
    ("contents", "words"), [(None, "No such file"), (b"", "no line"), (b"\xff\xfe\x00", "no line of text")]
)
def test_a_file_without_a_secret_is_named(tmp_path, contents, words):
    file = tmp_path / "password"
    if contents is not None:
        file.write_bytes(contents)
    with pytest.raises(InputError, match=words) as caught:
        secret("A", {"A_FILE": str(file)})
    assert str(file) in caught.value.found


def test_two_secrets_of_one_name_are_refused_and_not_repeated(tmp_path):
    with pytest.raises(InputError, match="both") as caught:
        secret("A", {"A": "hidden", "A_FILE": str(tmp_path / "other")})
    assert "hidden" not in str(caught.value)
