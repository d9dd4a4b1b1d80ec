"""The wheel works where it is installed, away from the checkout."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def output(*command, cwd):
    """The output of a command that does not have this checkout on its path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check")
    output(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, ROOT, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder ``bin`` of an environment with the wheel and the packages it depends on."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    output(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    # Paths in a .pth file are added without reading the .pth files there, so that an editable install is not seen.
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    where = output(python, "-c", "import edge_occ; print(edge_occ.__file__)", cwd=folder).strip()
    assert Path(where).is_relative_to(folder)
    return folder / "bin"


def test_the_wheel_holds_the_three_packages_and_the_presets(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"edge_occ", "engines", "trainer"}
    presets = {f"edge_occ/configs/presets/{path.name}" for path in (ROOT / "configs" / "presets").iterdir()}
    assert presets <= set(names)
    assert "trainer/report/templates/page.html.j2" in names
    static = {f"edge_occ/dashboard/static/{path.name}" for path in (ROOT / "edge_occ/dashboard/static").iterdir()}
    assert len(static) > 5
    assert static <= set(names)


def test_the_installed_command_prints_its_version(installed, tmp_path):
    from edge_occ import __version__

    assert __version__ in output(installed / "edge-occ", "--version", cwd=tmp_path)


def test_the_installed_command_verifies_a_bundle(installed, tmp_path):
    bundle = ROOT / "tests" / "data" / "a8c75b7.occ"
    output(installed / "edge-occ", "verify", bundle, cwd=tmp_path)


def test_the_installed_package_finds_its_presets(installed, tmp_path):
    code = "from edge_occ.common.settings import preset; print(preset('quick'))"
    assert (
        output(installed / "python", "-c", code, cwd=tmp_path).strip().endswith("edge_occ/configs/presets/quick.yaml")
    )
