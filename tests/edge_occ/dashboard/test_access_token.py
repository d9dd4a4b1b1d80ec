"""The token: its file, its environment variable, and what is refused."""

import stat

import pytest

from edge_occ.common.errors import InputError
from edge_occ.dashboard.access_token import VARIABLE, Token, default_token_file, token_from_environment, token_from_file

SECRET = "0123456789abcdef"


def test_a_file_that_is_absent_is_made_for_this_user_alone(tmp_path):
    path = tmp_path / "state" / "token"
    made, new = token_from_file(path)
    assert new
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = path.read_text().strip()
    assert len(secret) >= 40
    assert made.is_secret(secret)
    again, new = token_from_file(path)
    assert not new
    assert again.session == made.session
    other, _ = token_from_file(tmp_path / "other")
    assert not other.is_secret(secret)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path, mode):
    path = tmp_path / "token"
    path.write_text(SECRET)
    path.chmod(mode)
    with pytest.raises(InputError, match=f"mode {mode:o}") as caught:
        token_from_file(path)
    assert caught.value.advice.startswith(f"chmod 600 {path}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "short", "a" * 1001, "0123456789abcdef 0123", "0123456789abcdé\n", "a\x00" * 20]
)
def test_what_is_no_token_is_refused_and_not_repeated(tmp_path, content):
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InputError, match="16 to 1000 ASCII characters") as caught:
        token_from_file(path)
    assert not content or content.strip() not in str(caught.value)


def test_a_file_that_cannot_be_written_or_read_is_an_error_of_the_user(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="File exists"):
        token_from_file(tmp_path / "file" / "token")
    with pytest.raises(InputError, match="Is a directory"):
        token_from_file(tmp_path)


def test_the_environment():
    assert token_from_environment({}) is None
    assert token_from_environment({VARIABLE: ""}) is None
    assert token_from_environment({VARIABLE: SECRET}).is_secret(SECRET)
    with pytest.raises(InputError, match=VARIABLE):
        token_from_environment({VARIABLE: "short"})


def test_the_file_is_where_edge_occ_keeps_its_state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_token_file() == tmp_path / "edge-occ" / "dashboard-token"


def test_secret_and_session_are_different_things():
    token = Token(SECRET)
    assert not token.is_secret(token.session)
    assert not token.is_session(SECRET)
    assert token.is_session(Token(SECRET).session)
    assert not token.is_session(Token(SECRET + "0").session)
    assert not token.is_secret("é\udcff")
