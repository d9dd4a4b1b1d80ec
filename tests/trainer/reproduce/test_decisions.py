"""The tables of decisions, with a very short training."""

import json
import shutil
from dataclasses import replace

import pytest
from discs import TINY, make_data

from edge_occ.bundle.bundle import read_bundle
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.threshold_rules import RULES
from trainer.reproduce import find_table
from trainer.reproduce.budget import Budget
from trainer.reproduce.cells import Store
from trainer.reproduce.markdown import RunInfo
from trainer.reproduce.provenance import provenance
from trainer.reproduce.run import TableRequest, plan, reproduce
from trainer.reproduce.set_changes import SetChange
from trainer.reproduce.summary import summarise
from trainer.reproduce.write import write_table

SETTINGS = (
    "pretext.name=none",
    *(f"{section}.{name}={value}" for section, values in TINY.items() for name, value in values.items()),
)
CHANGES = (SetChange(), SetChange(0.1, images=12), SetChange(images=99))


class Run:
    """Both tables of one set, unchanged and changed."""

    def __init__(self, folder):
        self.data, self.said = make_data(folder / "sets" / "discs").parent, []
        self.store = Store(folder / "work", self.said.append)
        about = RunInfo("edge-occ reproduce", "sets", provenance("cpu"))
        self.outcomes, self.texts, self.contents = {}, {}, {}
        for name in ("decisions", "thresholds"):
            table = find_table(name).on(self.data)
            table = replace(table, rows=tuple(replace(row, preset="quick") for row in table.rows))
            request = TableRequest(table, self.data, categories=("discs",), seeds=1, settings=SETTINGS, changes=CHANGES)
            outcome = reproduce(plan(request), self.store, Budget(None), "cpu", self.said.append)
            summary = summarise(table, outcome.statuses)
            path = write_table(folder, summary, outcome.statuses, self.store, about)
            self.outcomes[name], self.texts[name] = outcome, path.read_text()
            self.contents[name] = json.loads(path.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("decisions"))


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
    images = {
        name: read_bundle(run.store.bundle(status.cell)).manifest.training.images
        for name, status in statuses.items()
        if status.state == "done"
    }
    assert images == {"auto": 16, "auto-10-percent-defects-12-images": 13}
    assert len({status.cell.key for status in statuses.values()}) == 3
    assert [line for line in run.said if "auto-99-images, discs, seed 0 failed" in line and "found 16" in line]
    assert not [path for path in (run.store.bundle(statuses["auto"].cell)).parent.iterdir() if path.is_dir()]


def test_an_unchanged_set_shares_its_bundle_with_the_tables_of_mvtec(run):
    data = run.data.parent / "mvtec"
    shutil.copytree(run.data / "discs", data / "bottle")
    table = find_table("mvtec")
    cells = plan(TableRequest(table, data, rows=("untrained",), seeds=1, settings=SETTINGS))
    own = run.outcomes["decisions"].statuses[0].cell
    (cell,) = (cell for cell in cells if cell.row.name == "untrained")
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
