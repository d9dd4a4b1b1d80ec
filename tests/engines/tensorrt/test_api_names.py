"""Only names that TensorRT has from 10.3 to 11.4 may be used, and only one module may import it.

What is called on TensorRT's objects is held to the same lists by the strict fake, on which the other tests run.
"""

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NAMES = json.loads((ROOT / "tests" / "data" / "trt_api_names.json").read_text())["versions"]
MODULES = sorted((ROOT / "engines" / "tensorrt").glob("*.py"))


def chains(source):
    """Dotted names behind ``trt`` or ``something.trt``, say ``BuilderFlag.TF32``."""
    for node in ast.walk(ast.parse(source)):
        parts = ast.unparse(node).split(".") if isinstance(node, ast.Attribute) else []
        if "trt" in parts[:-1] and all(part.isidentifier() for part in parts):
            yield ".".join(parts[parts.index("trt") + 1 :])


def exists(chain, names):
    top, *members = chain.split(".")
    if top == "__version__":  # of every package, so the list leaves it out
        return not members
    if top not in names["top_level"] or len(members) > 1:
        return False
    # A pybind11 class has its constructor besides what is listed.
    return not members or members[0] == "__init__" or members[0] in names["classes"].get(top, [])


def used():
    return {chain for module in MODULES for chain in chains(module.read_text())}


@pytest.mark.parametrize("version", sorted(NAMES))
def test_every_name_exists_in_every_version(version):
    assert not {chain for chain in used() if not exists(chain, NAMES[version])}


def test_the_names_in_use_are_found():
    assert used() >= {"Builder", "BuilderFlag.TF32", "NetworkDefinitionCreationFlag.STRONGLY_TYPED", "Runtime"}


def test_the_check_finds_what_is_wrong():
    found = set(chains("def f(api):\n    api.trt.Builder(1).max_batch_size\n    trt.TacticSource.CUBLAS\n"))
    assert found == {"Builder", "TacticSource", "TacticSource.CUBLAS"}
    assert not exists("TacticSource.CUBLAS", NAMES["11.4.0.106"])
    assert not exists("int8_calibrator", NAMES["10.3.0"])


def test_nothing_else_imports_tensorrt():
    importing = set()
    for folder in ("edge_occ", "engines", "trainer"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.split(".")[0].startswith("tensorrt") for name in names):
                    importing.add(str(path.relative_to(ROOT)))
    assert importing == {"engines/tensorrt/api.py"}
