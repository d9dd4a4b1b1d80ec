"""Imports run one way, and the device half needs no training package."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("edge_occ", "engines", "trainer")
TRAINING = ("torch", "sklearn", "scipy", "matplotlib", "jinja2", "onnx", "onnxscript", "amqtt", "elpv_dataset")


def modules(*packages):
    """Every module by its dotted name."""
    found = {}
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source, known):
    """Modules of ours that a source imports, wherever the statement is."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in names]
        else:
            continue
        yield from (name for name in names if name in known)


def room(module):
    """The package below edge_occ or trainer that holds a module; a runtime of engines."""
    return ".".join(module.split(".")[:2])


def cycle(edges):
    """The first cycle of a graph; empty if there is none."""
    graph: dict[str, set[str]] = {}
    for importer, target in edges:
        if importer != target:
            graph.setdefault(importer, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.fixture(scope="module")
def edges():
    known = modules(*PACKAGES)
    return [(name, target) for name, path in known.items() for target in imported(path.read_text("utf-8"), known)]


def test_a_cycle_is_found():
    known = {"a", "a.b", "a.c"}
    edges = [
        (name, target)
        for name, source in (("a.b", "def f():\n  from a import c"), ("a.c", "import a.b"))
        for target in imported(source, known)
    ]
    assert set(cycle(edges)) == {"a.b", "a.c"}


def test_no_modules_import_each_other(edges):
    assert len(edges) > 500
    assert cycle(edges) == []


def test_no_rooms_import_each_other(edges):
    assert cycle([(room(importer), room(target)) for importer, target in edges]) == []


def test_every_module_of_the_device_half_imports_without_the_training_packages():
    """Also without the runtimes and GPU packages that a machine may lack."""
    blocked = (*TRAINING, "tensorrt", "pycuda", "cuda", "openvino", "trainer")
    code = (
        "import importlib, sys\n"
        f"blocked, names = {blocked}, {tuple(modules('edge_occ', 'engines'))}\n"
        "class Absent:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in blocked: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "for name in names: importlib.import_module(name)\n"
        "assert not set(blocked) & set(sys.modules)\n"
        "print(len(names))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(modules("edge_occ", "engines"))
