"""The pages are true: settings, error texts, commands, modules and links; and they build into a site."""

import ast
import re
import runpy
import subprocess
import sys
from difflib import get_close_matches
from pathlib import Path

import pytest
from typer.main import get_group

from edge_occ.cli import app

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PACKAGES = ("edge_occ", "engines", "trainer")


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def sources():
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def first_cells(text):
    """The first cell of every row of the tables."""
    return re.findall(r"^\| `([^|]+)` \|", text, re.MULTILINE)


# Settings


def test_the_page_of_settings_follows_the_models():
    expected = runpy.run_path(str(ROOT / "tools" / "settings_page.py"))["page"]()
    assert page("settings.md") == expected, "run: make docs"


def test_the_page_of_keys_follows_the_messages():
    expected = runpy.run_path(str(ROOT / "tools" / "mqtt_reference.py"))["page"]()
    assert page("mqtt-reference.md") == expected, "run: make docs"


def test_every_setting_has_a_description():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", page("settings.md"), re.MULTILINE)
    assert len(rows) > 80
    assert [name for name, meaning in rows if not meaning] == []


# Commands and presets


def test_every_command_is_on_its_page():
    assert set(first_cells(page("commands.md"))) >= set(get_group(app).commands)


def test_every_environment_variable_is_on_its_page():
    names = {name for path in sources() for name in re.findall(r'"(EDGE_OCC_\w+)"', path.read_text("utf-8"))}
    assert len(names) >= 4
    assert [name for name in sorted(names) if name not in page("commands.md")] == []


def test_every_exit_status_is_on_its_page():
    statuses = {
        int(status)
        for path in sources()
        for status in re.findall(r"^    exit_code = (\d+)$", path.read_text("utf-8"), re.MULTILINE)
    }
    listed = re.findall(r"^\| (\d+) \|", page("commands.md"), re.MULTILINE)
    assert {*statuses, 0, 130} == set(map(int, listed))


def test_every_preset_is_on_its_page():
    names = {path.stem for path in (ROOT / "configs" / "presets").glob("*.yaml")}
    named = {
        name
        for cell in re.findall(r"^\| (`.*?) \|", page("presets.md"), re.MULTILINE)
        for name in re.findall(r"`([\w-]+)`", cell)
    }
    assert named == names


# Error texts


def strings():
    """Every string of the code, with ... for what an f-string fills in; docstrings left out."""
    found = set()
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = (str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
                found.add("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                found.add(re.sub(r"%[sd]", "...", node.value))
    return found


@pytest.fixture(scope="module")
def texts():
    return strings()


def test_every_error_text_of_the_page_is_in_the_code(texts):
    quoted = first_cells(page("troubleshooting.md"))
    assert len(quoted) >= 25
    missing = {text: get_close_matches(text, texts) for text in quoted if not any(text in known for known in texts)}
    assert missing == {}


# Architecture


def test_the_module_table_follows_the_code():
    text = page("architecture.md")
    assert text == runpy.run_path(str(ROOT / "tools" / "module_table.py"))["page"](), "run: make docs"
    modules = {str(path.relative_to(ROOT)) for path in sources() if path.name != "__init__.py"}
    assert modules == set(first_cells(text)) & modules
    assert not re.search(r"^\| `.*\| \|$", text, re.MULTILINE), "a module without a docstring"


def test_every_room_is_on_the_page_of_the_architecture():
    rooms = {
        f"{path.parent.relative_to(ROOT)}/"
        for package in PACKAGES[::2]
        for path in (ROOT / package).glob("*/__init__.py")
    }
    described = page("architecture.md").partition("## Rooms")[2].partition("## Imports")[0]
    assert sorted(room for room in rooms if f"`{room}`" not in described) == []


def test_every_function_on_the_page_of_the_architecture_exists():
    names = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
    calls = re.findall(r"`(?:\w+\.)*(\w+)\(\)`", page("architecture.md"))
    assert len(calls) > 20
    assert sorted(set(calls) - names) == []


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="MkDocs builds the site: pip install 'edge-occ[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built(site):
    wanted = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md") if path.name != "README.md"}
    assert wanted <= {path.relative_to(site) for path in site.rglob("*.html")}


def test_the_site_loads_nothing_from_other_hosts(site):
    loads = re.compile(
        r"<(?:script|img|iframe)\b[^>]*\bsrc=[\"']?(?:https?:)?//|<link\b[^>]*\bhref=[\"']?(?:https?:)?//"
    )
    pages, styles = list(site.rglob("*.html")), list(site.rglob("*.css"))
    assert pages
    assert styles
    for path in pages:
        assert not loads.search(path.read_text(encoding="utf-8")), path
    for path in styles:
        assert not re.search(r"(?:url\([\"']?|@import [\"'])(?:https?:)?//", path.read_text(encoding="utf-8")), path
