"""``edge-occ doctor`` as a user and as a script meet it."""

import json

import pytest
import typer
from typer.testing import CliRunner

from edge_occ import doctor
from edge_occ.cli import doctor as command
from edge_occ.cli.guarded import guarded
from edge_occ.doctor import probing
from edge_occ.doctor.report import Check, CheckState, Diagnosis, EngineChoice


@pytest.fixture
def app(monkeypatch):
    """Checks that a busy machine may take long for."""
    monkeypatch.setattr(probing, "PATIENCE", 90.0)
    monkeypatch.setattr(doctor, "_LONGEST", 180.0)
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(guarded(command.doctor))
    return app


def test_json_is_one_object_and_nothing_else(app, broker):
    result = CliRunner().invoke(app, ["--json", "--broker", broker.url])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    content = json.loads(result.stdout)
    assert content["ok"] is True
    assert set(content) == {"ok", "checks", "engine"}
    assert content["engine"]["name"] in ("cpu", "tensorrt")
    for check in content["checks"]:
        assert set(check) == {"name", "state", "found", "fix"}
        assert check["state"] in ("ok", "missing", "wrong", "note")
    answered = next(check for check in content["checks"] if check["name"] == "broker")
    assert answered["found"] == f"{broker.url}, MQTT 5"


def test_the_configured_broker_is_the_one_tried(app, broker, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(f"mqtt: {{broker: '{broker.url}', protocol: v3.1.1}}\n")
    result = CliRunner().invoke(app, ["--config", str(config)])
    assert result.exit_code == 0, result.output
    assert f"{broker.url}, MQTT 3.1.1" in result.stdout


@pytest.fixture
def found(monkeypatch):
    checks = (
        Check("numpy", CheckState.OK, "2.2.6, ABI 2", needed=True),
        Check(
            "[opencv]",
            CheckState.WRONG,
            "does not load",
            "sudo apt install " + " ".join(["[package]"] * 40),
            needed=True,
        ),
    )
    report = Diagnosis(checks, EngineChoice("cpu", "ONNX Runtime runs"))
    monkeypatch.setattr(command, "diagnose", lambda mqtt: report)
    return report


def test_long_commands_can_be_copied(app, found):
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert f"    {found.checks[1].fix}" in result.stdout.splitlines()
    assert result.stdout.startswith("ok       numpy     2.2.6, ABI 2\nwrong    [opencv]  does not load\n")


def test_no_engine_is_4(app, monkeypatch):
    monkeypatch.setattr(
        command, "diagnose", lambda mqtt: Diagnosis((Check("x", CheckState.OK, "y"),), EngineChoice(None, "z"))
    )
    result = CliRunner().invoke(app, ["--json"])
    assert result.exit_code == 4
    assert json.loads(result.stdout)["ok"] is False


@pytest.mark.parametrize("url", ["mqtt://line:s3cret@127.0.0.1", "line:s3cret@127.0.0.1", "http://127.0.0.1"])
def test_a_wrong_address_is_refused_and_secrets_are_not_repeated(app, found, url):
    result = CliRunner().invoke(app, ["--broker", url])
    assert result.exit_code == 2
    assert "expected" in result.output
    assert "s3cret" not in result.output
    assert found.engine.why not in result.output
