"""The files of the deployment and their page agree with each other and with the program."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from deployment import (
    INSTALLED,
    ROOT,
    TELEMETRY,
    calls,
    compose,
    environment,
    fenced,
    filled,
    health_check,
    mounts,
    of,
    options_of,
    text,
    unit,
    volumes,
)
from typer.testing import CliRunner

from edge_occ import __version__
from edge_occ.cli import app
from edge_occ.common.errors import BundleRefused, EngineUnavailable, Hung, InputError, SourceLost
from edge_occ.common.settings import load_settings
from edge_occ.mqtt.broker import parse_broker
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.heartbeat import FILE, SECONDS, HeartbeatFile, heartbeat_from_environment
from edge_occ.runtime.watchdog import FIRST_SECONDS, Watchdog
from edge_occ.sources.uri import parse_uri


def commands():
    """Every call of edge-occ in the files of this test: where it stands, and its arguments."""
    service = compose()["services"]["edge-occ"]
    yield "compose.yaml", [filled(word) for word in service["command"]]
    yield "edge-occ.service", shlex.split(unit()["Service"]["ExecStart"])[1:]
    inline = re.findall(r"`(edge-occ [a-z][^`]*)`", text("docs/jetson.md"))
    for line in [*fenced(), *inline]:
        words = shlex.split(line, comments=True) if "edge-occ " in line else []
        starts = [n for n, word in enumerate(words) if word in ("edge-occ", INSTALLED) and "useradd" not in words]
        if starts and words[0] not in ("journalctl", "install") and "logs" not in words:
            yield "docs/jetson.md", words[starts[-1] + 1 :]


def cache_under(variables):
    code = "from engines.base import default_cache; print(default_cache())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True
    )
    return Path(done.stdout.strip())


def test_engines_are_kept_in_the_volume_and_in_the_units_cache():
    volume = volumes()[0]
    # The whole of it: GStreamer and CUDA keep things there, too, and elsewhere nobody may write.
    assert environment()["XDG_CACHE_HOME"] == volume
    assert Path(volume) in cache_under({"XDG_CACHE_HOME": volume}).parents
    assert mounts("edge-occ")[volume] == "cache"
    service = unit()["Service"]
    variables = dict(word.split("=", 1) for word in service["Environment"].split())
    assert variables.pop(TELEMETRY) == "1"
    folder = Path("/var/cache", service["CacheDirectory"])
    assert variables["XDG_CACHE_HOME"] == str(folder)
    assert all(folder in Path(path, "below").parents for path in (*variables.values(), cache_under(variables)))
    (by_hand,) = [words for words in map(shlex.split, fenced()) if INSTALLED in words and words[0] == "sudo"]
    assert f"XDG_CACHE_HOME={folder}" in by_hand[: by_hand.index(INSTALLED)]
    assert service["User"] == options_of(by_hand)["-u"]


def test_evidence_is_kept_in_the_volume_and_in_the_units_state():
    cache, state = volumes()
    assert mounts("edge-occ")[state] == "state"
    assert {mounts("edge-occ")[cache], "state"} <= compose()["volumes"].keys()
    words = [filled(word) for word in compose()["services"]["edge-occ"]["command"]]
    settings = [value for option, value in pairwise(words) if option == "--set"]
    folder = load_settings(RunConfig, [], settings).evidence.folder
    assert folder is not None
    assert folder.parent == Path(state)
    made = [words for words in calls("install", of("RUN")) if "-d" in words]
    (created,) = calls("useradd", of("RUN"))
    assert [(words[-1], options_of(words)["-o"]) for words in made] == [(state, created[-1])]
    assert Path("/var/lib", unit()["Service"]["StateDirectory"]) == Path(state)
    for page in ("docs/jetson.md", "docs/evidence.md", "deploy/edge-occ.service"):
        assert f"evidence.folder: {folder}" in text(page), page


def test_paths_agree():
    service = unit()["Service"]
    page = text("docs/jetson.md")
    assert service["ExecStart"].split()[0] == INSTALLED
    assert "/opt/edge-occ/bin" in environment()["PATH"]
    for path in (service["WorkingDirectory"], service["EnvironmentFile"].lstrip("-"), "deploy/edge-occ.service"):
        assert path in page, path
    assert f"install -m 600 /dev/null {service['EnvironmentFile'].lstrip('-')}" in page
    assert Path(service["WorkingDirectory"]).parts[1] not in ("home", "root"), "ProtectHome hides it"
    assert mounts("edge-occ")["/bundles"] == "./bundles"
    for mount in compose()["services"]["broker"]["volumes"]:
        source = mount.split(":")[0]
        assert not source.startswith(".") or (ROOT / source).is_file(), source
    assert f"edge-occ:{__version__}" == compose()["services"]["edge-occ"]["image"]
    assert set(re.findall(r"edge-occ:(\d[\d.]*)", text("Dockerfile.jetson"))) == {__version__}


def seconds(span):
    """A time of Docker or systemd: ``30s``, ``20m``, ``20min``, ``60``."""
    number, unit = re.fullmatch(r"(\d+)(s|m|min|)", span).groups()
    return int(number) * {"": 1, "s": 1}.get(unit, 60)


def test_the_health_check_reads_the_file_that_run_touches(tmp_path):
    check = json.loads(health_check()[1])
    beat = HeartbeatFile(tmp_path / "a heartbeat")

    def healthy():
        variables = {**os.environ, FILE: str(tmp_path / "a heartbeat")}
        return subprocess.run(check, env=variables, capture_output=True).returncode == 0

    assert not healthy()
    beat()
    assert healthy()
    os.utime(tmp_path / "a heartbeat", (time.time() - 90,) * 2)
    assert not healthy()
    beat()
    assert healthy()


def test_the_image_watches_its_run_and_compose_may_say_for_how_long(monkeypatch, tmp_path):
    """By what the program itself makes of these variables."""
    made = []
    monkeypatch.setattr(
        "edge_occ.runtime.heartbeat.Watchdog", lambda seconds: made.append(seconds) or Watchdog(seconds)
    )
    monkeypatch.setenv(FILE, str(tmp_path / Path(environment()[FILE]).name))
    own = filled(compose()["services"]["edge-occ"]["environment"][SECONDS])
    for value in (environment()[SECONDS], own, "0"):
        monkeypatch.setenv(SECONDS, value)
        with heartbeat_from_environment():
            pass
    assert made == [60.0, 60.0]


def test_what_ends_is_started_again_and_the_first_engine_may_be_built_before():
    for name, service in compose()["services"].items():
        assert service["restart"] == "unless-stopped", name
    options = options_of(shlex.split(health_check()[0].replace("=", " ")))
    assert seconds(options["--start-period"]) >= FIRST_SECONDS
    service = unit()["Service"]
    assert service["Type"] == "notify"
    assert seconds(service["TimeoutStartSec"]) >= FIRST_SECONDS
    assert seconds(service["WatchdogSec"]) == float(environment()[SECONDS])
    assert service["Restart"] == "always"
    mends_itself = {error.exit_code for error in (InputError, EngineUnavailable, SourceLost, Hung)}
    assert not mends_itself & set(map(int, service["RestartPreventExitStatus"].split()))


def test_every_exit_status_is_explained():
    errors = (InputError, BundleRefused, EngineUnavailable, SourceLost, Hung)
    explained = set(re.findall(r"^\| (\d) \|", text("docs/jetson.md"), re.MULTILINE))
    assert explained >= {str(error.exit_code) for error in errors}
    assert {re.search(rf"\b{status} \w+", app.info.epilog)[0] for status in explained}


@pytest.mark.parametrize(("where", "words"), list(commands()))
def test_commands_options_settings_sources_and_brokers_exist(where, words):
    command, *rest = words
    page = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert page.exit_code == 0, command
    for option, value in zip(rest, [*rest, ""][1:], strict=True):
        if option.startswith("--"):
            assert re.search(rf"{option}(?![\w-])", page.output), (where, command, option)
        if option == "--source":
            parse_uri(value)
        elif option == "--broker":
            parse_broker(value)
        elif option == "--set":
            load_settings(RunConfig, [], [value])


def test_the_page_is_read():
    """The test above would be content with a page of which it understands nothing."""
    called = [words[0] for where, words in commands() if where == "docs/jetson.md"]
    assert {"doctor", "compile", "verify", "bench", "run"} <= set(called)


def test_the_page_begins_with_what_was_not_done():
    assert "Nothing here was ever run on a Jetson" in text("docs/jetson.md").splitlines()[2]
