"""The definitions of the tables."""

import pytest

from edge_occ.common.errors import InputError
from edge_occ.common.settings import load_settings, preset
from trainer.config import TrainConfig
from trainer.reproduce import TABLES, find_table
from trainer.reproduce.paper import paper_columns

CUTPASTE = ["mvtec", "mvtec-pixels", "cutpaste-ablation", "synthetic"]
DECISIONS = ["decisions", "thresholds"]
ROWS = [(table, row) for table in TABLES.values() for row in table.rows]


def test_the_tables():
    assert list(TABLES) == [*DECISIONS, *CUTPASTE, "cifar10", "cifar100", "fmnist", "catdog", "celeba"]
    with pytest.raises(InputError) as caught:
        find_table("mvtek")
    assert "mvtec, mvtec-pixels, cutpaste-ablation, synthetic, cifar10" in caught.value.expected
    assert "did you mean mvtec?" in caught.value.advice


@pytest.mark.parametrize("table", [TABLES[name] for name in TABLES if name not in DECISIONS], ids=lambda x: x.name)
def test_the_rows_without_training_are_always_there(table):
    rows = table.choose_rows([table.rows[-1].name])
    if table.name in CUTPASTE:
        names = ["frozen", "untrained"]
        labels = ["*frozen features + Gaussian, no training*", "*untrained encoder + Gaussian*"]
    else:
        names = ["frozen-kde", "untrained-kde"]
        labels = ["*frozen ImageNet features, no training*, KDE", "*untrained encoder*, KDE"]
    assert [row.name for row in rows] == [*names, table.rows[-1].name]
    assert [row.label for row in rows[:2]] == labels


@pytest.mark.parametrize(("table", "row"), ROWS, ids=lambda x: x.name)
def test_every_row_has_its_preset_and_the_papers_column(table, row):
    load_settings(TrainConfig, [preset(row.preset)], row.settings)
    assert row.paper is None or row.paper in paper_columns()
    assert [each.name for each in table.rows].count(row.name) == 1


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_rows_that_are_named_elsewhere_exist(table):
    assert set(table.pictured) <= {row.name for row in table.rows}
    assert set(table.appendix) <= set(paper_columns())
    assert not table.metrics or table.main in table.metrics


@pytest.mark.parametrize("name", ["mvtec", "cutpaste-ablation"])
def test_detection_is_shown_before_any_auroc(name):
    assert list(TABLES[name].metrics)[:4] == ["found_1", "false_alarms_1", "auroc_held_out", "image_auroc"]
