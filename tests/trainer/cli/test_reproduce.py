"""``edge-occ reproduce`` as a user and as a script meet it; the cells cost nothing here."""

import json
import signal
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from edge_occ.cli import app
from edge_occ.common.signals import INTERRUPTED

pytestmark = pytest.mark.train


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of two categories with data; its cells do what ``events`` says."""
    from trainer.reproduce import TABLES, mvtec
    from trainer.reproduce.table import Measured, PaperTable, Procedure, Row

    for category in ("bottle", "screw"):
        for part in ("train/good", "test/good"):
            (tmp_path / "data" / category / part).mkdir(parents=True)
    events = {}

    def measure(task):
        events.get(task.category, lambda: None)()
        return Measured({"auroc": 0.9}, task.config.optimiser.steps, 1.0)

    procedure = Procedure("fake", 1, mvtec.find, lambda folder, category: category, mvtec.images, measure)
    rows = (Row("fixed", "*fixed*", "quick", fixed=True), Row("other", "other", "quick", ("optimiser.steps=7",)))
    fake = PaperTable("fake", "A fake", procedure, ("bottle", "screw", "pill"), rows, "auroc", {"auroc": "AUROC"})
    monkeypatch.setitem(TABLES, "fake", fake)
    monkeypatch.chdir(tmp_path)
    return events


def reproduce(*arguments, table="fake"):
    return CliRunner().invoke(app, ["reproduce", table, "--data", "data", *map(str, arguments)])


def test_files_and_what_is_printed(table, tmp_path):
    result = reproduce("--rows", "other", "--categories", "screw,bottle", "--seeds", 2, "--device", "cpu")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "docs" / "results" / "fake.md").read_text()
    assert text in result.stdout
    command = "edge-occ reproduce fake --data data --rows other --categories screw,bottle --seeds 2 --device cpu"
    assert f"`{command}`" in text
    assert "| other | - | 90.0 ± 0.0 | 2 of 2 | 7 | 0.0 |" in text
    assert str(tmp_path) not in text
    assert "cell 8 of 8: other, screw, seed 1" in result.stderr
    assert "8 of 8 cells done" in result.stderr
    assert (tmp_path / "docs" / "results" / "fake.png").exists()
    assert (tmp_path / ".cache" / "reproduce" / "cells").is_dir()


def test_json_prints_one_object_and_nothing_else(table, tmp_path):
    result = reproduce("--json", "--steps", 3, "--out", "out", "--work", "work")
    content = json.loads(result.stdout)
    assert content == json.loads((tmp_path / "out" / "fake.json").read_text())
    assert content["command"] == "edge-occ reproduce fake --data data --seeds 3 --steps 3"
    assert {cell["updates"] for cell in content["cells"]} == {3}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["fake.json", "fake.md", "fake.png"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_scheduler_get_the_table_so_far(table, number):
    table["screw"] = lambda: signal.raise_signal(number)
    result = reproduce("--seeds", 1)
    assert result.exit_code == INTERRUPTED
    assert "| *fixed* | - | 90.0 | 1 of 1 | 420 | 0.0 |" in result.stdout
    assert "| *fixed* | - | incomplete | 0 of 1 | - | - |" in result.stdout
    assert "| other | - | not run | 0 of 1 | - | - |" in result.stdout
    assert "the same command goes on from here" in result.stderr
    table.clear()
    assert reproduce("--seeds", 1).exit_code == 0


def test_a_failed_cell_gives_its_error_and_exit_status_after_the_table(table):
    from edge_occ.common.errors import BundleRefused

    def fail():
        raise BundleRefused("this", "that", "do so")

    table["screw"] = fail
    result = reproduce("--seeds", 1)
    assert result.exit_code == BundleRefused.exit_code
    assert "| other | - | failed | 0 of 1 | - | - |" in result.stdout
    assert "do so" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "othr"], "did you mean other?"),
        (["--categories", "nut"], "bottle, screw, pill"),
        (["--categories", "pill"], "bottle, screw"),
        (["--budget", "soon"], "20m"),
        (["--device", "tpu"], "auto, cpu, cuda"),
        (["--steps", "3", "--epochs", "2"], "leave one of them out"),
        (["--contaminate", "0.7"], "from 0 to below 0.5"),
        (["--images", "few"], "such as 10,20,50"),
        (["--images", "20"], "such as decisions"),
        (["--out", "file"], "choose another place with --out"),
        (["--out", "file/below"], "choose another place with --out"),
        (["--work", "file"], "choose another place with --work"),
        (["--data", "nowhere"], "bottle, screw, pill"),
    ],
)
def test_wrong_arguments(table, tmp_path, arguments, message):
    (tmp_path / "file").touch()
    result = reproduce(*arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / ".cache" / "reproduce" / "cells").exists() or not list(tmp_path.rglob("*.json"))


def test_several_processes_are_asked_to_take_a_command_each(table, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    result = reproduce()
    assert result.exit_code == 2
    assert "docs/scaling.md" in result.stderr


def test_epochs_are_shown(table, tmp_path):
    for category in ("bottle", "screw"):
        (tmp_path / f"data/{category}/train/good/0.png").touch()
    result = reproduce("--epochs", 2.5)
    assert result.exit_code == 0, result.output
    assert "--epochs 2.5`" in result.stdout
    assert "| **not as in the presets**, in every row | `epochs=2.5` |" in result.stdout


def test_changes_of_the_sets_are_rows_and_part_of_the_command(table, monkeypatch):
    from trainer.reproduce import TABLES

    monkeypatch.setitem(TABLES, "fake", replace(TABLES["fake"], discover=lambda data: ("bottle", "screw")))
    result = reproduce("--seeds", 1, "--contaminate", "0,0.05", "--images", "10")
    assert result.exit_code == 0, result.output
    assert "--contaminate 0,0.05 --images 10`" in result.stdout
    assert "| other; 10 good images | - | 90.0 |" not in result.stdout  # no column of a paper's
    assert "| other; 10 good images | 90.0 |" in result.stdout
    assert "| other; 5 % of the training images are defective | 90.0 |" in result.stdout


def test_an_unknown_table_lists_the_known(table):
    result = reproduce(table="mvtex")
    assert result.exit_code == 2
    assert "mvtec, mvtec-pixels, cutpaste-ablation, synthetic" in " ".join(result.stderr.split())


def test_seeds_must_be_positive(table):
    assert reproduce("--seeds", 0).exit_code == 2


def test_help_names_the_tables_and_what_happens_to_a_killed_run():
    page = " ".join(CliRunner().invoke(app, ["reproduce", "--help"], env={"COLUMNS": "100"}).stdout.split())
    for words in ("cutpaste-ablation", "mvtec-pixels", "synthetic", "goes on after", "not run"):
        assert words in page
