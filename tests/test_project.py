"""Statements of the repository about itself are true."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from edge_occ import __version__
from edge_occ.cli import app
from edge_occ.common.settings import preset

ROOT = Path(__file__).resolve().parent.parent


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def toml_list(section, key):
    """A list of strings from pyproject.toml; Python 3.10 has no reader of TOML."""
    body = re.search(rf"^\[{re.escape(section)}\]$(.*?)(?=^\[|\Z)", text("pyproject.toml"), re.DOTALL | re.MULTILINE)[1]
    return re.findall(r'"([^"]+)"', re.search(rf"^{key} = \[(.*?)\]$", body, re.DOTALL | re.MULTILINE)[1])


def name_of(requirement):
    return re.match(r"[A-Za-z0-9_.-]+", requirement)[0]


def test_top_level():
    assert {
        *("edge_occ", "trainer", "engines", "configs", "tests", "benchmarks", "docs", ".ci", "pyproject.toml"),
        *(
            "Dockerfile.jetson",
            "compose.yaml",
            "deploy",
            "Makefile",
            "README.md",
            "CHANGELOG.md",
            "CONTRIBUTING.md",
            "LICENSE",
        ),
    } <= {path.name for path in ROOT.iterdir()}


def test_every_dependency_is_justified_and_none_is_left_over():
    extras = [
        "evaluate",
        "train",
        "imagenet",
        "jetson",
        "tensorrt",
        "openvino",
        "demo",
        "dashboard",
        "metrics",
        "docs",
        "test",
        "dev",
    ]
    required = {("", name_of(r)) for r in toml_list("project", "dependencies")}
    for extra in extras:
        required |= {(extra, name_of(r)) for r in toml_list("project.optional-dependencies", extra)}
    required = {(extra, name) for extra, name in required if name != "edge-occ"}
    documented = set()
    for line in text("docs/dependencies.md").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 and cells[0].startswith("`"):
            documented.add(("", cells[0].strip("`")))
        elif len(cells) == 3 and cells[1].startswith("`"):
            documented.add((cells[0], cells[1].strip("`")))
    assert documented == required


def test_the_base_install_holds_no_torch():
    base = {name_of(r) for r in toml_list("project", "dependencies")}
    assert not base & {"torch", "tensorrt", "pycuda", "scikit-learn", "onnx"}


def test_versions_agree():
    assert f'version = "{__version__}"' in text("pyproject.toml")
    assert "## [Unreleased]" in text("CHANGELOG.md") or f"## [{__version__}]" in text("CHANGELOG.md")


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/commands.md"])
def test_pages_show_only_commands_targets_options_and_presets_that_exist(name):
    shown = "\n".join(re.findall(r"^```\n(.*?)^```$", text(name), re.DOTALL | re.MULTILINE))
    targets = re.findall(r"^make ([a-z0-9-]+)", shown, re.MULTILINE)
    commands = re.findall(r"^(?:\.venv/bin/)?edge-occ ([^\n#]+)", shown, re.MULTILINE)
    assert targets or commands
    for target in targets:
        assert re.search(rf"^{target}:", text("Makefile"), re.MULTILINE), target
    runner = CliRunner()
    for line in commands:
        command, *words = line.split()
        page = runner.invoke(app, [command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
        assert page.exit_code == 0, command
        for option in (word for word in words if word.startswith("--")):
            assert option in page.output, (command, option)
        if "--preset" in words:
            preset(words[words.index("--preset") + 1])


@pytest.mark.parametrize("document", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_name_only_files_that_exist(document):
    content = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]*)?\)", content):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target
    for path in re.findall(
        r"`((?:edge_occ|trainer|engines|configs|docs|tests|tools|benchmarks|deploy)/[\w/.-]+)`", content
    ):
        assert (ROOT / path).exists(), path


def test_the_readme_is_short():
    assert len(text("README.md").splitlines()) <= 80


def test_counts_of_the_readme_are_in_the_results():
    counts = re.findall(r"\b\d+ of \d+\b", text("README.md"))
    assert len(counts) >= 10
    results = "".join(text(f"docs/results/{name}.md") for name in ("index", "defects", "first-path"))
    assert [count for count in counts if count not in results] == []


def test_ci_and_makefile_parse():
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)
    for target in ("demo", "test", "install", "docs"):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_configs_are_yaml():
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict), path


@pytest.mark.parametrize("package", ["edge_occ", "engines", "trainer"])
def test_packages_are_typed(package):
    assert (ROOT / package / "py.typed").exists()


RUNS_WHAT_IT_READS = re.compile(
    r"^\s*(?:import|from)\s+(?:[\w. ]+,\s*)*(?:c?[pP]ickle|_pickle|dill|cloudpickle|joblib|marshal|shelve)\b"
    r"|allow_pickle|shell=True|(?<![.\w])(?:eval|exec)\(|os\.(?:system|popen)\(|yaml\.(?:unsafe_|full_)?load\("
    r"|^\s*from\s+torch\s+import\s.*\bload\b|^\s*import\s+torch\s+as\b|torch\.(?:jit|export|package|hub)\.load"
    r"|\.(?:all_)?gather_object|broadcast_object_list",
    re.MULTILINE,
)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "import os, pickle",
        "    from pickle import loads",
        "import torch as t",
        "torch.jit.load(x)",
        "dist.all_gather_object(x, y)",
        "eval(x)",
        "os.system(x)",
        "os.popen(x)",
        "yaml.load(x)",
    ],
)
def test_the_pattern_finds_what_it_is_for(line):
    assert RUNS_WHAT_IT_READS.search(f"x = 1\n{line}\n")


def test_no_public_class_has_the_name_of_another():
    places = defaultdict(set)
    for folder in ("edge_occ", "engines", "trainer"):
        for module in (ROOT / folder).rglob("*.py"):
            for name in re.findall(r"^class ([A-Z]\w*)", module.read_text(encoding="utf-8"), re.MULTILINE):
                places[name].add(module.relative_to(ROOT).as_posix())
    assert len(places) > 200
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("folder", ["edge_occ", "engines", "trainer", "benchmarks", "tools", "tests"])
def test_nothing_runs_what_it_reads(folder):
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        if path == Path(__file__):  # has the pattern's own examples
            continue
        source = path.read_text(encoding="utf-8")
        assert not RUNS_WHAT_IT_READS.search(source), path
        for call in re.findall(r"torch\.load\b[^\n]*", source):
            assert re.fullmatch(r"torch\.load\([^()]*, weights_only=True\)", call), path  # reads tensors alone


def test_the_command_line_starts_without_training_packages():
    """On a device only the base install is there."""
    code = (
        "import sys; blocked = ('torch', 'sklearn', 'scipy', 'matplotlib', 'jinja2', 'onnx', 'amqtt', 'elpv_dataset',\n"
        "           'starlette', 'uvicorn', 'anyio')\n"
        "class Absent:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in blocked: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "sys.argv = ['edge-occ', 'run', '--help']\n"
        "from edge_occ.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
