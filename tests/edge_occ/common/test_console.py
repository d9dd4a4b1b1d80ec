"""Lines on the two standard streams."""

import io
import json
import sys

import pytest

from edge_occ.common.console import print_json, print_line, say, say_error
from edge_occ.common.errors import InputError

FOREIGN = "Straße caf\udce9 \x1b[31m 零件"
SHOWN = "Straße caf\\xe9 \\x1b[31m 零件"


def test_lines_for_people_go_to_standard_error_as_they_are(capsys):
    say(f"[bold]{FOREIGN}[/bold] " + "long " * 60)
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"[bold]{SHOWN}[/bold] " + "long " * 60 + "\n")


def test_an_error_is_three_lines(capsys):
    say_error(InputError("a file", FOREIGN, "name another"))
    assert capsys.readouterr().err == f" expected  a file\n    found  {SHOWN}\n     next  name another\n"


def test_a_line_of_standard_output_is_in_its_own_encoding(capsysbinary, monkeypatch):
    print_line(FOREIGN)
    assert capsysbinary.readouterr().out == f"{SHOWN}\n".encode()
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "latin-1"))
    print_line(FOREIGN)
    assert raw.getvalue() == "Straße caf\\xe9 \\x1b[31m ??\n".encode("latin-1")


def test_json_is_utf_8_in_every_encoding(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "latin-1"))
    print_json({"name": FOREIGN})
    (line,) = raw.getvalue().decode("utf-8").splitlines()
    assert json.loads(line) == {"name": FOREIGN.replace("\udce9", "\N{REPLACEMENT CHARACTER}")}


class Unwritable(io.RawIOBase):
    def __init__(self, error):
        self.error = error

    def writable(self):
        return True

    def write(self, data):
        raise self.error


@pytest.mark.parametrize("print_something", [lambda: print_line("x"), lambda: print_json({})])
def test_a_full_disk_is_an_error_for_the_user_and_a_closed_pipe_is_not(monkeypatch, print_something):
    class Stream:
        encoding = "utf-8"

        def __init__(self, error):
            self.buffer = Unwritable(error)

        def flush(self):
            pass

    monkeypatch.setattr(sys, "stdout", Stream(OSError(28, "No space left on device")))
    with pytest.raises(InputError) as caught:
        print_something()
    assert caught.value.found == "No space left on device"
    monkeypatch.setattr(sys, "stdout", Stream(BrokenPipeError()))
    with pytest.raises(BrokenPipeError):
        print_something()
