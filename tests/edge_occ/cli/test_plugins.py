"""Commands that join through entry points: present, missing, broken."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from typer.testing import CliRunner

from edge_occ.cli import app, plugins

TRAINER = {
    "train": "train",
    "evaluate": "evaluate",
    "review": "evaluate",
    "refit": "train",
    "reproduce": "train",
    "demo": "demo",
}
"""Commands of the trainer, and the extra that each needs."""


@pytest.fixture
def installed(monkeypatch):
    """The entry points that are installed, to be changed."""
    points = []

    def entry_points(*, group, name=None):
        return [point for point in points if point.group == group and name in (None, point.name)]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    return points


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Two modules of another package: ``greetings`` works, ``broken`` raises an error when it is imported."""
    (tmp_path / "greetings.py").write_text(
        "from edge_occ.common.console import print_line\n"
        "from edge_occ.common.errors import InputError\n"
        "def greet(name: str = 'world') -> None:\n"
        "    '''Greet.'''\n"
        "    if name == 'nobody':\n"
        "        raise InputError('a name', 'nobody', 'give one')\n"
        "    print_line(f'hello {name}')\n"
    )
    (tmp_path / "broken.py").write_text("raise RuntimeError('wrong ABI')")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("greetings", "broken"):
        sys.modules.pop(name, None)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def point(name, value):
    return EntryPoint(name, value, plugins.GROUP)


def test_a_command_of_another_package_is_listed_and_runs_like_any_other(installed, package):
    installed.append(point("greet", "greetings:greet"))
    assert "greet " in invoke("--help").stdout
    assert invoke("greet", "--name", "line").stdout == "hello line\n"
    result = invoke("greet", "--name", "nobody")
    assert result.exit_code == 2
    assert [line.split()[0] for line in result.stderr.splitlines()] == ["expected", "found", "next"]


def test_a_command_of_this_package_is_not_replaced(installed, package):
    installed.append(point("inspect", "greetings:greet"))
    assert "BUNDLE" in invoke("inspect", "--help").stdout


@pytest.mark.parametrize("name", TRAINER)
@pytest.mark.parametrize("arguments", [["--data", "pictures", "--set", "a=b"], ["part.occ", "--json"], []])
def test_without_the_trainer_its_commands_say_what_to_install(installed, name, arguments):
    result = invoke(name, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    expected, found, advice = result.stderr.splitlines()
    assert expected.split() == ["expected", "the", "command", name]
    assert "no installed package" in found
    assert f"pip install 'edge-occ[{TRAINER[name]}]'" in advice


def test_a_broken_package_breaks_nothing_else(installed, package, tiny_bundle):
    installed += [point("train", "broken:train"), point("greet", "nowhere:greet"), point("hail", "greetings:hail")]
    page = invoke("--help")
    assert page.exit_code == 0
    assert page.stdout.count("Not available here") == len(TRAINER) + 2
    assert invoke("inspect", tiny_bundle).exit_code == 0
    result = invoke("train", "--data", "pictures")
    assert result.exit_code == 2
    assert "RuntimeError while loading broken:train: wrong ABI" in result.stderr
    assert "pip install 'edge-occ[train]'" in result.stderr
    for name in ("greet", "hail"):
        result = invoke(name)
        assert result.exit_code == 2
        assert "install its package again" in result.stderr


def test_an_unknown_command_is_a_usage_error(installed):
    result = invoke("trian")
    assert result.exit_code == 2
    assert "No such command" in result.output


def test_the_trainers_commands_import_nothing_heavy():
    code = (
        "import sys\n"
        "from importlib.metadata import entry_points\n"
        "found = entry_points(group='edge_occ.commands')\n"
        f"assert sorted(point.name for point in found) == {sorted(TRAINER)}, found\n"
        "for point in found: point.load()\n"
        "bad = {'torch', 'sklearn', 'scipy', 'matplotlib', 'jinja2', 'onnx', 'amqtt', 'elpv_dataset'}\n"
        "sys.exit(str(bad & set(sys.modules)) if bad & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
