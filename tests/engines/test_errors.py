"""Errors for users."""

import pytest

from engines.errors import LONGEST, UserError


@pytest.mark.parametrize("part", ["expected", "found", "advice"])
def test_what_an_error_quotes_is_cut(part):
    parts = {"expected": "a", "found": "b", "advice": "c", part: "x" * 25_000_000}
    error = UserError(**parts)
    assert getattr(error, part) == "x" * LONGEST + "... (25000000 characters)"
    assert len(str(error)) < LONGEST + 100


def test_what_is_short_is_reported_as_it_is():
    error = UserError("a", "b" * LONGEST, "c")
    assert error.found == "b" * LONGEST
    assert str(error) == f"expected a; found {error.found}; c"
