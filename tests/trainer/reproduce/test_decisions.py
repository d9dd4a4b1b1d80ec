"""The tables of decisions, with a bundle in place of trainings."""

import shutil
from unittest import mock

import pytest

from edge_occ.bundle.bundle import read_bundle
from edge_occ.common.images import find_images
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.threshold_rules import RULES
from trainer.own_files import remove_own
from trainer.reproduce import find_table, mvtec
from trainer.reproduce.budget import Budget
from trainer.reproduce.cells import Store
from trainer.reproduce.markdown import RunInfo
from trainer.reproduce.provenance import provenance
from trainer.reproduce.run import TableRequest, plan, reproduce
from trainer.reproduce.set_changes import SetChange
from trainer.reproduce.summary import summarise
from trainer.reproduce.write import write_table
from trainer.train import CHECKPOINTS, Trained

CHANGES = (SetChange(), SetChange(0.1, images=12), SetChange(images=99))


class Run:
    """Both tables of one set, unchanged and changed; every training gives the same bundle."""

    def __init__(self, folder, data, bundle):
        self.data, self.said, self.trained_on = folder / "sets", [], []
        self.data.mkdir()
        (self.data / "discs").symlink_to(data)
        self.store = Store(folder / "work", self.said.append)
        about = RunInfo("edge-occ reproduce", "sets", provenance("cpu"))
        self.outcomes, self.texts = {}, {}

        def train(job):
            self.trained_on.append([path.name for path in find_images(job.data / "train" / "good")])
            shutil.copy(bundle, job.out)
            remove_own(job.checkpoints, CHECKPOINTS)
            return Trained(read_bundle(bundle).manifest, job.report, 0)

        for name in ("decisions", "thresholds"):
            table = find_table(name).on(self.data)
            request = TableRequest(table, self.data, categories=("discs",), seeds=1, changes=CHANGES)
            with mock.patch.object(mvtec, "train", train):
                outcome = reproduce(plan(request), self.store, Budget(None), "cpu", self.said.append)
            summary = summarise(table, outcome.statuses)
            path = write_table(folder, summary, outcome.statuses, self.store, about)
            self.outcomes[name], self.texts[name] = outcome, path.read_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_data, tiny_bundle):
    return Run(tmp_path_factory.mktemp("decisions"), tiny_data, tiny_bundle)


def test_a_cell_holds_what_evaluate_says_and_its_costs(run):
    status = run.outcomes["decisions"].statuses[0]
    values, bundle = status.result.values, run.store.bundle(status.cell)
    found = evaluate(bundle, run.data / "discs").as_json()
    for entry in found["detection"]:
        percent = f"{100 * entry['rate']:g}"
        for name, value in (
            ("found", "share"), ("found_lower", "lower_95"), ("found_upper", "upper_95"), ("promised", "promised"),
            ("promised_upper", "promised_upper_95"),
        ):  # fmt: skip
            what, _, bound = name.partition("_")
            assert values["_".join(filter(None, (what, percent, bound)))] == entry[value]
        assert values[f"false_alarms_{percent}"] == pytest.approx(entry["false_alarms"] / 6, abs=1e-6)
        assert values["auroc_held_out"] == entry["auroc_held_out"]
    for name in ("image_auroc", "pixel_auroc", "aupro"):
        assert values[name] == found[name]
    assert values["bundle_mb"] == pytest.approx(bundle.stat().st_size / 1e6, abs=1e-6)
    assert 0.01 < values["latency_ms"] < 10_000


def test_changed_rows_train_on_changed_sets(run):
    statuses = {status.cell.row.name: status for status in run.outcomes["decisions"].statuses}
    assert list(statuses) == ["auto", "auto-10-percent-defects-12-images", "auto-99-images"]
    assert [status.state for status in statuses.values()] == ["done", "done", "failed"]
    whole, changed = run.trained_on
    assert whole == [f"{i:03}.png" for i in range(16)]
    (mixed,) = set(changed) - set(whole)
    kind, _, name = mixed.rpartition("_")
    assert (run.data / "discs" / "test" / kind / name).exists()
    assert kind != "good"
    assert len(changed) == 13
    assert len({status.cell.key for status in statuses.values()}) == 3
    assert [line for line in run.said if "auto-99-images, discs, seed 0 failed" in line and "found 16" in line]
    assert not [path for path in (run.store.bundle(statuses["auto"].cell)).parent.iterdir() if path.is_dir()]


def test_an_unchanged_set_shares_its_bundle_with_the_tables_of_mvtec(run):
    data = run.data.parent / "mvtec"
    shutil.copytree(run.data / "discs", data / "bottle")
    table = find_table("mvtec")
    cells = plan(TableRequest(table, data, rows=("auto",), seeds=1))
    own = run.outcomes["decisions"].statuses[0].cell
    (cell,) = (cell for cell in cells if cell.row.name == "auto")
    assert cell.bundle_key == own.bundle_key
    assert cell.key != own.key


def test_both_tables_are_of_the_same_cells(run):
    both = [{status.cell.key for status in run.outcomes[name].statuses} for name in ("decisions", "thresholds")]
    assert both[0] == both[1]
    announced = [line for line in run.said if line.startswith("cell ")]
    assert len(announced) == 3 + len(RULES)  # only the impossible one was tried again, for each row that needs it


def test_the_page_shows_detection_first_and_no_paper(run):
    text = run.texts["decisions"]
    assert "paper" not in text.lower()
    titles = next(line for line in text.splitlines() if line.startswith("| row "))
    for earlier, later in zip(("found at 1 %", "AUROC, held-out", "image AUROC"), ("AUROC, held-out", "image AUROC",
                              "bundle, MB"), strict=True):  # fmt: skip
        assert titles.index(earlier) < titles.index(later)
    values = run.outcomes["decisions"].statuses[0].result.values
    row = next(line for line in text.splitlines() if line.startswith("| `auto` |"))
    assert f"| {100 * values['found_1']:.1f} | {100 * values['found_1_lower']:.1f} |" in row
    assert f"| {values['latency_ms']:.1f} | {values['bundle_mb']:.1f} |" in row
    assert "`auto`; 10 % of the training images are defective, 12 good images |" in text


def test_the_page_of_thresholds_has_a_row_for_each_rule(run):
    values = run.outcomes["decisions"].statuses[0].result.values
    lines = run.texts["thresholds"].splitlines()
    for rule in RULES:
        row = next(line for line in lines if line.startswith(f"| {rule.label} |"))
        shares = [f"{100 * values[f'{rule.name}.{what}']:.1f}" for what in ("found", "false_alarms")]
        assert f"| {' | '.join(shares)} |" in row
    assert values["conformal-1.found"] == values["found_1"]
