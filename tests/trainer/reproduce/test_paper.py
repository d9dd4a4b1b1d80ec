"""The papers' figures agree with themselves, as far as they can be checked."""

import numpy as np
import pytest

from trainer.reproduce.cutpaste import OBJECTS, TEXTURES
from trainer.reproduce.paper import MEANS, Figure, paper_columns

WHOLE = [name for name, column in paper_columns().items() if set(TEXTURES) <= set(column.figures)]


def test_every_column_has_all_categories_or_only_means():
    assert len(WHOLE) == 12
    for name, column in paper_columns().items():
        assert set(column.figures) >= ({"all"} if name.startswith("synthetic") else set(MEANS)), name
        if name in WHOLE:
            assert set(column.figures) == {*TEXTURES, *OBJECTS, *MEANS}, name


@pytest.mark.parametrize("name", WHOLE)
def test_means_recompute_from_the_categories(name):
    """A slip of the pen in one category would move a mean of five by a fifth of it; printed figures are rounded."""
    column = paper_columns()[name]
    for mean, categories in (("texture", TEXTURES), ("object", OBJECTS), ("all", TEXTURES + OBJECTS)):
        assert column.mean(categories).value == pytest.approx(column.figures[mean][0], abs=0.11), mean


@pytest.mark.parametrize("name", ["synthetic-cutout", "synthetic-cutpaste-3way"])
def test_mean_of_the_shapes(name):
    figures = dict(paper_columns()[name].figures)
    mean = figures.pop("all")[0]
    assert len(figures) == 7
    assert np.mean([value for (value,) in figures.values()]) == pytest.approx(mean, abs=0.06)


def test_some_figures_as_printed():
    columns = paper_columns()
    assert columns["image-cutpaste-3way"].figure("screw") == Figure(86.3, 1.0)
    assert columns["patch-cutpaste-3way"].figure("pill") == Figure(95.7, 0.1)
    assert columns["image-ensemble"].figure("bottle") == Figure(98.2)
    assert columns["image-confetti"].figure("bottle") is None
    assert str(Figure(86.3, 1.0)) == "86.3 ± 1.0"
    assert str(Figure(98.2)) == "98.2"


def test_a_mean_over_categories_that_the_paper_has_not_is_none():
    assert paper_columns()["image-confetti"].mean(("bottle",)) is None
    assert paper_columns()["image-cutpaste"].mean(()) is None
