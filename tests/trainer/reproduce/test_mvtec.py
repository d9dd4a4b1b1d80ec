"""Procedures on MVTec AD, with a very short training."""

import shutil
from dataclasses import replace

import cv2
import pytest
from discs import TINY, make_data

from edge_occ.bundle.bundle import read_bundle
from edge_occ.common.errors import InputError
from trainer.data.layout import find_labelled_images
from trainer.evaluation.cases import ScoredImage
from trainer.reproduce.budget import Budget
from trainer.reproduce.cells import Store
from trainer.reproduce.cutpaste import OBJECTS, TEXTURES
from trainer.reproduce.heatmaps import heatmap_sheet
from trainer.reproduce.mvtec import MVTEC, SYNTHETIC
from trainer.reproduce.run import TableRequest, plan, reproduce
from trainer.reproduce.table import PaperTable, Row
from trainer.selection.synthetic_defects import GENERATORS

STEPS = 3
SETTINGS = (
    *(f"{section}.{name}={value}" for section, values in TINY.items() for name, value in values.items()),
    f"optimiser.steps={STEPS}",
)
METRICS = {"image_auroc", "pixel_auroc", "aupro", "aupimo", "f1_max", "auroc_held_out", "found_1", "false_alarms_1"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two categories, trained once and measured by both procedures."""
    folder = tmp_path_factory.mktemp("reproduce")
    data = folder / "data"
    make_data(data / "bottle")
    shutil.copytree(data / "bottle", data / "grid")
    (data / "grid" / "train" / "good" / "015.png").unlink()
    said, outcomes = [], {}
    store = Store(folder / "work", said.append)
    for procedure, main in ((MVTEC, "image_auroc"), (SYNTHETIC, "mean")):
        row = Row("tiny", "tiny", "quick", SETTINGS)
        table = PaperTable(procedure.name, "x", procedure, TEXTURES + OBJECTS, (row,), main)
        cells = plan(TableRequest(table, data, seeds=1))
        outcomes[procedure.name] = reproduce(cells, store, Budget(None), "cpu", said.append)
    return store, outcomes, said


def test_a_cell_holds_the_metrics_of_the_evaluation(done):
    _, outcomes, _ = done
    statuses = outcomes["mvtec"].statuses
    assert [status.cell.category for status in statuses] == ["grid", "bottle"]
    for status in statuses:
        assert status.state == "done"
        assert set(status.result.values) >= METRICS
        assert 0 <= status.result.values["image_auroc"] <= 1
        assert status.result.updates == STEPS
        assert status.result.seconds > 0


def test_bundles_are_of_the_settings_and_without_other_precisions(done):
    store, outcomes, _ = done
    for status in outcomes["mvtec"].statuses:
        bundle = read_bundle(store.bundle(status.cell))
        assert bundle.precisions == ("fp32",)
        assert (
            bundle.manifest.training.command == f"edge-occ train --data {status.cell.category} --preset quick --seed 0"
        )


def test_the_sheet_shows_image_mask_and_heatmap(done):
    store, outcomes, _ = done
    for status in outcomes["mvtec"].statuses:
        sheet = cv2.imread(str(store.picture(status.cell)))
        assert sheet.shape == (3 * 192 + 2 * 4, 3 * 192 + 2 * 4, 3)
        masks = sheet[:, 196:388]
        assert ((masks < 60) | (masks > 195)).mean() > 0.98
        assert (masks > 195).mean() > 0.005


def test_synthetic_defects_share_the_bundles(done):
    _, outcomes, said = done
    statuses = outcomes["synthetic"].statuses
    for status in statuses:
        assert status.state == "done"
        values = dict(status.result.values)
        mean = values.pop("mean")
        assert list(values) == list(GENERATORS)
        assert mean == pytest.approx(sum(values.values()) / len(values), abs=1e-6)
    assert {s.cell.bundle_key for s in statuses} == {s.cell.bundle_key for s in outcomes["mvtec"].statuses}
    assert not [line for line in said if "again" in line]


def test_synthetic_defects_are_the_same_every_time(done, tmp_path):
    store, outcomes, _ = done
    status = outcomes["synthetic"].statuses[1]
    (tmp_path / "bundles").mkdir()
    shutil.copy(store.bundle(status.cell), tmp_path / "bundles")
    again = reproduce([status.cell], Store(tmp_path, print), Budget(None), "cpu", print)
    assert again.statuses[0].result.values == status.result.values


def test_a_damaged_bundle_and_a_damaged_checkpoint_are_reported_and_repeated(done, tmp_path):
    store, outcomes, _ = done
    cell = outcomes["mvtec"].statuses[1].cell
    said = []
    fresh = Store(tmp_path, said.append)
    bundle = fresh.bundle(cell)
    bundle.write_bytes(store.bundle(cell).read_bytes()[:-100])
    for kept in store.encoders.iterdir():
        (fresh.encoders / kept.name).write_bytes(b"damaged")
    (fresh.encoders / "mine.safetensors").write_bytes(b"of no concern here")
    outcome = reproduce([cell], fresh, Budget(None), "cpu", said.append)
    assert outcome.statuses[0].result.values == outcomes["mvtec"].statuses[1].result.values
    assert any(line.startswith(f"{bundle.name} is trained again") for line in said)
    assert any("checkpoint" in line and "starts again" in line for line in said)
    assert (fresh.encoders / "mine.safetensors").read_bytes() == b"of no concern here"


def test_rows_that_differ_in_their_heads_train_one_encoder(done, monkeypatch):
    store, outcomes, _ = done
    cell = outcomes["mvtec"].statuses[1].cell
    monkeypatch.setattr("trainer.pretrain.update.Updates.__call__", lambda *arguments: pytest.fail("trained again"))
    head = cell.config.head.model_copy(update={"scope": ("shared",)})
    other = replace(cell, config=cell.config.model_copy(update={"head": head}))
    assert other.bundle_key != cell.bundle_key
    outcome = reproduce([other], store, Budget(None), "cpu", print)
    assert outcome.statuses[0].state == "done"
    assert not store.begun(other)
    assert outcome.statuses[0].result.updates == cell.config.optimiser.steps


def test_a_sheet_without_masks_or_without_defects(done, tmp_path):
    store, outcomes, _ = done
    cell = outcomes["mvtec"].statuses[1].cell
    bundle = read_bundle(store.bundle(cell))
    image = next(image for image in find_labelled_images(cell.data) if image.defective)
    scored = ScoredImage(replace(image, masks=()), bundle.conformal_threshold().verdict(1.0))
    heatmap_sheet(tmp_path / "one.jpg", store.bundle(cell), [scored])
    sheet = cv2.imread(str(tmp_path / "one.jpg"))
    assert sheet.shape == (192, 3 * 192 + 2 * 4, 3)
    assert abs(sheet[:, 200:384].astype(int) - 128).max() < 4
    heatmap_sheet(tmp_path / "none.jpg", store.bundle(cell), [])
    assert not (tmp_path / "none.jpg").exists()


def test_too_few_images_fail_only_their_own_cell(tmp_path):
    data = tmp_path / "data"
    make_data(data / "bottle")
    for path in sorted((data / "bottle" / "train" / "good").iterdir())[:12]:
        path.unlink()
    table = PaperTable("t", "t", MVTEC, OBJECTS, (Row("tiny", "tiny", "quick", SETTINGS),), "image_auroc")
    outcome = reproduce(
        plan(TableRequest(table, data, seeds=1)), Store(tmp_path / "w", print), Budget(None), "cpu", print
    )
    assert [status.state for status in outcome.statuses] == ["failed"]
    assert isinstance(outcome.failures[0], InputError)
