"""``edge-occ evaluate`` where a bundle runs, on an install without what trains."""

import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from edge_occ.cli import app

TRAINING = ("torch", "sklearn", "scipy", "matplotlib", "jinja2", "onnx", "onnxscript")

WITHOUT = f"""
import sys
class Absent:
    def find_spec(self, name, *rest):
        if name.split('.')[0] in {TRAINING}:
            raise ModuleNotFoundError(f'No module named {{name}}')
sys.meta_path.insert(0, Absent())
for name in [name for name in sys.modules if name.split('.')[0] in {TRAINING}]:
    del sys.modules[name]
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in {TRAINING} else real(name, *rest)
from edge_occ.__main__ import main
main()
"""


def evaluate_without_training_packages(*arguments):
    command = [sys.executable, "-c", WITHOUT, "evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_figures_need_only_the_base_install(tiny_bundle, tiny_data):
    done = evaluate_without_training_packages(tiny_bundle, "--data", tiny_data, "--json")
    assert done.returncode == 0, done.stderr
    folders = map(str, sorted((tiny_data / "test").iterdir()))
    scored = CliRunner().invoke(app, ["score", str(tiny_bundle), *folders, "--json"])
    scores = {True: [], False: []}
    for line in map(json.loads, scored.stdout.splitlines()):
        scores["/good/" in line["path"]].append(line["score"])
    ranks = [(good < bad) + (good == bad) / 2 for good in scores[True] for bad in scores[False]]
    assert len(ranks) == 6 * 7
    assert json.loads(done.stdout)["image_auroc"] == pytest.approx(sum(ranks) / len(ranks), abs=1e-6)


def test_a_missing_extra_for_the_page_is_reported_before_scoring(tiny_bundle, tiny_data, tmp_path):
    done = evaluate_without_training_packages(tiny_bundle, "--data", tiny_data, "--report", tmp_path / "report")
    assert done.returncode == 2
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["expected", "found", "next"]
    assert "pip install 'edge-occ[evaluate]'" in done.stderr
    assert not (tmp_path / "report").exists()


def test_the_terminal_shows_detection_first_and_says_what_has_no_mask(tiny_bundle, tiny_data, tmp_path):
    data = shutil.copytree(tiny_data, tmp_path / "data")
    (data / "ground_truth" / "spot" / "002_mask.png").unlink()
    arguments = ["evaluate", str(tiny_bundle), "--data", str(data)]
    lines = CliRunner().invoke(app, arguments).stderr.splitlines()
    table = next(i for i, line in enumerate(lines) if line.startswith("declared rate"))
    assert "1 of 7 defects have no mask" in lines[table - 1]
    assert [line[:8] for line in lines[table + 1 : table + 5]] == ["1 in 100", "1 in 50,", "1 in 20,", "1 in 10 "]
    entries = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)["detection"]
    for line, entry in zip(lines[table + 1 :], entries, strict=False):
        assert f"{entry['found']} of 7" in line
        assert f"{entry['false_alarms']} of 6" in line
    assert lines[table + 5].startswith("16 held-out images certify no rate below 1 in 17")
    assert lines[table + 6] == f"auroc_held_out {entries[0]['auroc_held_out']:.4f}"
    assert lines[table + 7].startswith("image_auroc")


@pytest.mark.train
def test_the_figures_are_those_of_an_install_with_everything(tiny_bundle, tiny_data):
    with_all = CliRunner().invoke(app, ["evaluate", str(tiny_bundle), "--data", str(tiny_data), "--json"])
    figures = [json.loads(with_all.stdout)]
    figures.append(json.loads(evaluate_without_training_packages(tiny_bundle, "--data", tiny_data, "--json").stdout))
    for content in figures:
        del content["seconds"]
    assert figures[0] == figures[1]
