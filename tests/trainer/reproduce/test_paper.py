"""The papers' figures agree with themselves, as far as they can be checked."""

import numpy as np
import pytest

from trainer.protocols import PROTOCOLS
from trainer.reproduce.cutpaste import OBJECTS, TEXTURES
from trainer.reproduce.paper import MEANS, Figure, paper_columns

FIRST_PAPER = {name: column for name, column in paper_columns().items() if name.split("-")[0] in PROTOCOLS}
CUTPASTE = {name: column for name, column in paper_columns().items() if name not in FIRST_PAPER}
METHODS = (
    *("imagenet-ocsvm", "imagenet-kde", "rotnet", "rotnet-kde", "dae-ocsvm", "dae-kde", "rotation-ocsvm"),
    *("rotation-kde", "contrastive-ocsvm", "contrastive-kde", "contrastive-da-ocsvm", "contrastive-da-kde"),
)
WHOLE = [name for name, column in paper_columns().items() if set(TEXTURES) <= set(column.figures)]


def test_every_column_has_all_categories_or_only_means():
    assert len(WHOLE) == 12
    for name, column in CUTPASTE.items():
        assert not column.recalled
        assert column.spread == "standard error"
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
    assert np.mean([value for value, *_ in figures.values()]) == pytest.approx(mean, abs=0.06)


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


def test_the_first_paper_has_every_method_on_every_data_set():
    assert set(FIRST_PAPER) >= {f"{data_set}-{method}" for data_set in PROTOCOLS for method in METHODS}
    for name, column in FIRST_PAPER.items():
        assert column.spread == "standard deviation"
        categories = set(column.figures) - {"all"}
        assert categories in (set(), set(PROTOCOLS[name.split("-")[0]].categories))
        assert column.recalled <= set(column.figures)


@pytest.mark.parametrize("method", ["contrastive-da-ocsvm", "geom", "goad", "rot-trans", "csi"])
def test_means_recompute_from_the_classes_of_cifar10(method):
    column = FIRST_PAPER[f"cifar10-{method}"]
    categories = PROTOCOLS["cifar10"].categories
    mean = column.mean(categories)
    assert mean.value == pytest.approx(column.figures["all"][0], abs=0.06)
    assert mean.recalled
    assert column.recalled == set(categories)


def test_verified_and_recalled_figures_are_marked():
    verified = {name for name, column in FIRST_PAPER.items() if "all" not in column.recalled}
    assert verified == {
        *(
            f"{data_set}-{method}"
            for method in ("rotation-kde", "contrastive-da-ocsvm")
            for data_set in [*PROTOCOLS][:4]
        ),
        *("cifar10-imagenet-ocsvm", "cifar10-contrastive-ocsvm", "cifar10-svdd", "cifar10-csi", "cifar10-rot-trans"),
        *("cifar10-geom", "cifar100-geom", "fmnist-geom", "catdog-geom", "cifar10-goad", "fmnist-goad"),
        *("cifar10-huang", "cifar100-huang", "fmnist-huang"),
    }
    assert str(FIRST_PAPER["fmnist-rotation-kde"].figure("all")) == "95.8 ± 0.3"
    assert str(FIRST_PAPER["celeba-contrastive-kde"].figure("all")) == "84.6 ± 2.5 (recalled)"
    assert str(FIRST_PAPER["cifar10-contrastive-da-ocsvm"].mean(("airplane", "deer"))) == "90.4 (recalled)"


@pytest.mark.parametrize("head", ["ocsvm", "kde"])
def test_updates_are_2048_epochs_of_whole_batches(head):
    normal = {"cifar10": 5_000, "cifar100": 2_500, "fmnist": 6_000, "catdog": 10_000}
    for data_set, images in normal.items():
        for method, count in (
            ("rotation", images // 64),
            ("contrastive", images // 32),
            ("contrastive-da", 4 * images // 32),
        ):
            assert FIRST_PAPER[f"{data_set}-{method}-{head}"].updates == 2048 * count
    assert FIRST_PAPER[f"celeba-rotation-{head}"].updates is None
    assert FIRST_PAPER[f"celeba-imagenet-{head}"].updates == 0
