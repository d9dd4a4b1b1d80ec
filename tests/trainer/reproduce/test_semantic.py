"""Cells of the two-stage paper's tables, on a data set that takes seconds."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
from published_formats import idx

from edge_occ.common.errors import InputError
from trainer.heads.base import Unfit
from trainer.heads.build import fit_head
from trainer.protocols import FASHION_MNIST
from trainer.reproduce.budget import Budget
from trainer.reproduce.cells import Store
from trainer.reproduce.run import TableRequest, plan, reproduce
from trainer.reproduce.semantic import HEADS, semantic
from trainer.reproduce.summary import summarise
from trainer.reproduce.table import PaperTable, Row

DATA = replace(FASHION_MNIST, train_images=24, test_images=6)
TINY = (
    *("encoder.base_width=8", "pretext.hidden_layers=1", "pretext.hidden_width=8", "pretext.embedding=8"),
    *("optimiser.steps=3", "optimiser.batch=8", "head.dim=4"),
)
ROTATION = Row("rotation-kde", "rotation, KDE", "paper-rotation", TINY, part="kde")


def pictures(labels, seed):
    """Class 0 is dark above and bright below, the others the other way round or striped; with noise."""
    generator = np.random.default_rng(seed)
    ramp = np.linspace(20, 220, 28)[:, None] * np.ones((1, 28))
    shapes = [ramp, *(np.roll(ramp[::-1], 3 * k, 0) if k % 2 else np.roll(ramp, 3 * k, 1).T for k in range(1, 10))]
    images = np.stack([shapes[label] for label in labels]) + generator.normal(0, 8, (len(labels), 28, 28))
    return images.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "fashion_mnist"
    folder.mkdir()
    for seed, (stem, classes, each) in enumerate((("train", (0, 4), 24), ("t10k", range(10), 6))):
        labels = np.repeat(list(classes), each).astype(np.uint8)
        for kind, array in (("labels-idx1", labels), ("images-idx3", pictures(labels, seed))):
            (folder / f"{stem}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    return folder.parent


def table(*rows):
    return PaperTable(
        "fmnist", "x", semantic(DATA), DATA.categories, rows, "pool", {"pool": "pool", "embed": "embed"},
        spread="standard deviation",
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    rows = (
        Row("untrained-kde", "u", "paper-rotation", (*TINY, "pretext.name=none", "views.enabled=false"), part="kde"),
        ROTATION,
        replace(ROTATION, name="rotation-gaussian", part="gaussian"),
        replace(ROTATION, name="rotnet", part="classifier"),
        Row("contrastive-kde", "c", "paper-contrastive", (*TINY, "optimiser.steps=12"), part="kde"),
    )
    said = []
    store = Store(tmp_path_factory.mktemp("work"), said.append)
    cells = plan(TableRequest(table(*rows), data, seeds=1))
    outcome = reproduce(cells, store, Budget(None), "cpu", said.append)
    return store, outcome, said


def test_every_head_on_features_before_and_after_the_projection(done):
    _, outcome, said = done
    assert [status.state for status in outcome.statuses] == ["done"] * 10, said
    of = {(s.cell.row.name, s.cell.category): s.result for s in outcome.statuses}
    rotation = of["rotation-kde", "0"]
    places = {f"{head}.{place}" for head in HEADS for place in ("pool", "embed")}
    assert set(rotation.values) == {*places, "classifier.pool"}
    assert all(0 <= value <= 1 for value in rotation.values.values())
    assert rotation.updates == 3
    assert set(of["untrained-kde", "0"].values) == {f"{head}.pool" for head in HEADS}
    assert of["untrained-kde", "0"].updates == 0
    # Shapes so different are told apart by any features.
    assert rotation.values["kde.pool"] > 0.9


def test_heads_of_one_representation_are_one_cell(done):
    _, outcome, _ = done
    keys = {s.cell.row.name: s.cell.key for s in outcome.statuses if s.cell.category == "0"}
    assert keys["rotation-kde"] == keys["rotation-gaussian"] == keys["rotnet"]
    assert len(set(keys.values())) == 3


def test_each_row_shows_only_its_own_head(done):
    _, outcome, _ = done
    summary = summarise(outcome.statuses[0].cell and table(), outcome.statuses)
    values = next(s.result.values for s in outcome.statuses if (s.cell.row.name, s.cell.category) == ("rotnet", "4"))
    by_row = {entry.row.name: entry.figures for entry in summary.entries["4"]}
    assert set(by_row["rotnet"]) == {"pool"}
    assert by_row["rotnet"]["pool"].value == pytest.approx(100 * values["classifier.pool"])
    assert by_row["rotation-gaussian"]["embed"].value == pytest.approx(100 * values["gaussian.embed"])


def test_a_second_run_trains_nothing_and_says_the_same(done, data, monkeypatch):
    store, outcome, _ = done
    status = next(s for s in outcome.statuses if s.cell.row.name == "rotation-kde")
    monkeypatch.setattr("trainer.pretrain.update.Updates.__call__", lambda *arguments: pytest.fail("trained again"))
    store._path(status.cell).unlink()
    again = reproduce([status.cell], store, Budget(None), "cpu", print)
    assert again.statuses[0].result.values == status.result.values


def test_an_interrupted_cell_is_incomplete_and_goes_on(done, data, tmp_path, monkeypatch):
    _, outcome, _ = done
    status = next(s for s in outcome.statuses if s.cell.row.name == "rotation-kde")
    store = Store(tmp_path, print)
    with monkeypatch.context() as patch:
        patch.setattr(
            "trainer.reproduce.semantic.fit_head", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        stopped = reproduce([status.cell], store, Budget(None), "cpu", print)
    assert stopped.interrupted
    assert stopped.statuses[0].state == "incomplete"
    monkeypatch.setattr("trainer.pretrain.update.Updates.__call__", lambda *arguments: pytest.fail("trained again"))
    again = reproduce([status.cell], store, Budget(None), "cpu", print)
    assert again.statuses[0].result.values == status.result.values


def test_classes_that_are_not_there_are_reported(data):
    assert {cell.category for cell in plan(TableRequest(table(ROTATION), data, seeds=1))} == {"0", "4"}
    with pytest.raises(InputError) as caught:
        plan(TableRequest(table(ROTATION), data, categories=("8",)))
    assert "categories 8" in caught.value.expected
    assert caught.value.found == "0, 4"
    with pytest.raises(InputError, match="no such folder"):
        plan(TableRequest(table(ROTATION), data / "nothing"))


def test_a_head_that_cannot_be_fitted_leaves_a_gap_and_is_reported(done, tmp_path, monkeypatch):
    _, outcome, _ = done
    cell = next(s.cell for s in outcome.statuses if s.cell.row.name == "untrained-kde")
    said = []

    def fit(features, config):
        if config.kind == "nearest":
            raise Unfit("24 features that are all the same", "try another")
        return fit_head(features, config)

    monkeypatch.setattr("trainer.reproduce.semantic.fit_head", fit)
    (status,) = reproduce([cell], Store(tmp_path, said.append), Budget(None), "cpu", said.append).statuses
    assert status.result.values["nearest.pool"] is None
    assert status.result.values["kde.pool"] is not None
    assert any("no nearest pool, 24 features" in line for line in said)
