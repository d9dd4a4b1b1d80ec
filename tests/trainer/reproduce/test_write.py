"""The files of a table."""

import json
import re
import signal
from dataclasses import replace

import cv2
import pytest

from edge_occ.common.errors import InputError
from trainer.reproduce.markdown import RunInfo
from trainer.reproduce.provenance import Provenance, provenance
from trainer.reproduce.summary import summarise
from trainer.reproduce.write import require_own_table, write_table

NOW = Provenance(date="2026-01-02T03:04:05+00:00", commit="abc", hardware="a machine", software="Python 3")
ABOUT = RunInfo("edge-occ reproduce fake --data data", "data", NOW)


def written(fake, folder, **options):
    outcome = fake.run(fake.plan(**options))
    summary = summarise(fake.table, outcome.statuses)
    folder.mkdir(exist_ok=True)
    path = write_table(folder, summary, outcome.statuses, fake.store, ABOUT)
    return path.read_text(encoding="utf-8"), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def lines_of(text, section):
    part = text.split(f"## {section}")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")]


def test_the_papers_figures_and_ours_share_a_row(fake, tmp_path):
    text, content = written(fake, tmp_path / "out", seeds=3)
    titles, _, fixed, block, short, *_ = lines_of(text, "bottle")
    assert titles == ["row", "paper", "ours, AUROC", "seeds", "updates", "minutes a seed"]
    assert fixed == ["*fixed*", "-", "82.7 ± 1.2", "3 of 3", "1", "1.0"]
    assert block[0] == "**a**"
    assert short == ["short", "98.3 ± 0.5", "83.7 ± 1.2", "3 of 3", "2 of 65,536", "2.0"]
    mean = lines_of(text, "Mean over 2 of 3 categories: bottle, screw")[4]
    beside = "CutPaste 3-way (CutPaste, table 1)"
    assert mean == [
        "short",
        beside,
        "92.3",
        "97.0 ± 0.5",
        "94.3 ± 0.6",
        "95.2 ± 0.6",
        "88.7 ± 1.2",
        "3 of 3",
        "2 of 65,536",
    ]
    entry = next(e for e in content["entries"] if e["row"] == "short" and e["category"] == "bottle")
    assert entry["paper"] == {"mean": 98.3, "standard_error": 0.5}
    assert entry["ours"]["auroc"] == {"mean": 83.6667, "standard_error": 1.2019}
    assert content["written"]["commit"] == "abc"
    assert len(content["cells"]) == 18
    assert cv2.imread(str(tmp_path / "out" / "fake.png")) is not None


def test_files_of_others_are_not_overwritten(fake, tmp_path):
    folder = tmp_path / "out"
    require_own_table(folder, fake.table)
    written(fake, folder)
    require_own_table(folder, fake.table)
    other = tmp_path / "other"
    other.mkdir()
    for name, content in (("fake.md", "mine"), ("fake.json", "{}"), ("fake.json", "[]"), ("fake.png", "mine")):
        (other / name).write_text(content)
        with pytest.raises(InputError, match="--out"):
            require_own_table(other, fake.table)
        (other / name).unlink()
    require_own_table(other, fake.table)


def test_no_figure_where_a_cell_did_not_run(fake, tmp_path, wrong):
    fake.events["screw", 1, 1] = wrong
    fake.events["screw", 0, 2] = wrong
    fake.events["screw", 1, 2] = wrong
    fake.events["bottle", 0, 3] = lambda: signal.raise_signal(signal.SIGINT)
    text, content = written(fake, tmp_path)
    _, _, fixed, _, short, _, long = lines_of(text, "screw")
    assert fixed == ["*fixed*", "-", "91.0", "1 of 2, rest failed", "1", "1.0"]
    assert short == ["short", "86.3 ± 1.0", "failed", "0 of 2", "-", "-"]
    assert long == ["long", "-", "not run", "0 of 2", "-", "-"]
    assert lines_of(text, "bottle")[-1] == ["long", "-", "incomplete", "0 of 2", "-", "-"]
    assert [cells[-3] for cells in lines_of(text, "Mean over")[2:]] == ["86.0", "", "failed", "", "incomplete"]
    for cell in content["cells"]:
        assert ("values" in cell) == (cell["state"] == "done")


def test_a_table_without_any_cell_has_no_plot(fake, tmp_path):
    fake.events["bottle", 0, 1] = lambda: signal.raise_signal(signal.SIGINT)
    text, _ = written(fake, tmp_path / "out")
    assert not (tmp_path / "out" / "fake.png").exists()
    assert "![" not in text
    assert not re.search(r"\d ±", text.replace("mean ±", "").split("| ours")[0])


def test_settings_that_differ_from_the_presets_are_reported(fake, tmp_path):
    outcome = fake.run(fake.plan(seeds=1))
    summary = summarise(fake.table, outcome.statuses)
    about = replace(ABOUT, overrides=("encoder.base_width=8", "optimiser.steps=9"))
    text = write_table(tmp_path, summary, outcome.statuses, fake.store, about).read_text(encoding="utf-8")
    assert "| **not as in the presets**, in every row | `encoder.base_width=8`, `optimiser.steps=9` |" in text
    assert "not as in the presets" not in written(fake, tmp_path / "plain", seeds=1)[0]


def test_pictures_can_be_left_out(fake, tmp_path):
    outcome = fake.run(fake.plan(seeds=1))
    fake.store.picture(outcome.statuses[0].cell).write_bytes(b"jpeg")
    object.__setattr__(fake.table, "pictured", ("fixed",))
    summary = summarise(fake.table, outcome.statuses)
    for show in (True, False):
        folder = tmp_path / str(show)
        folder.mkdir()
        text = write_table(folder, summary, outcome.statuses, fake.store, ABOUT, show=show).read_text(encoding="utf-8")
        assert ("heatmaps of" in text) == (folder / "fake").exists() == show


def test_pictures_are_those_of_the_first_pictured_row_that_is_done(fake, tmp_path):
    object.__setattr__(fake.table, "pictured", ("long", "short"))
    cells = fake.plan()
    for cell in cells:
        if cell.row.name == "short" and cell.category == "bottle":
            fake.store.picture(cell).write_bytes(str(cell).encode())
    text, _ = written(fake, tmp_path / "out")
    assert (tmp_path / "out" / "fake" / "bottle.jpg").read_bytes() == b"short, bottle, seed 0"
    assert "![heatmaps of bottle](fake/bottle.jpg)" in text
    assert "row short, seed 0" in text
    assert "heatmaps of screw" not in text


def test_no_paths_of_the_machine(fake, tmp_path):
    text, content = written(fake, tmp_path)
    assert str(tmp_path) not in text + json.dumps(content)


def test_provenance_names_code_and_machine():
    about = provenance("cpu")
    assert re.fullmatch(r"[0-9a-f]{12}\+?|edge-occ .+", about.commit)
    assert "threads" in about.hardware
    assert "torch" in about.software
    assert about.date.endswith("+00:00")
