"""What goes onto a device: Dockerfile, compose file, unit and their page, as far as a machine without GPU can tell."""

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deployment import ENVIRONMENT, ROOT, compose, text, tool
from typer.testing import CliRunner

from edge_occ import __version__
from edge_occ.cli import app
from edge_occ.config import RunConfig
from edge_occ.mqtt.broker import PASSWORD, USERNAME, parse_broker
from edge_occ.settings import load_settings
from edge_occ.sources.uri import parse_uri

TELEMETRY = "ORT_DISABLE_TELEMETRY"
INSTALLED = "/opt/edge-occ/bin/edge-occ"

FROM_NVIDIA = {"python3-libnvinfer"}
"""The one package that NVIDIA's servers have and Ubuntu's have not."""
FROM_UBUNTU = {
    *("python3", "python3-venv", "python3-dev", "python3-numpy", "python3-opencv"),
    *("build-essential", "v4l-utils"),
}
"""In Ubuntu 22.04 and 24.04 (packages.ubuntu.com), and under the same names in Debian."""


def toml_list(section, key):
    body = re.search(rf"^\[{re.escape(section)}\]$(.*?)(?=^\[|\Z)", text("pyproject.toml"), re.DOTALL | re.MULTILINE)[1]
    return re.findall(r'"([^"]+)"', re.search(rf"^{key} = \[(.*?)\]$", body, re.DOTALL | re.MULTILINE)[1])


def instructions():
    """Names and arguments of the Dockerfile, comments gone and lines joined."""
    lines = [line for line in text("Dockerfile.jetson").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def of(name):
    return [rest for instruction, rest in instructions() if instruction == name]


def environment():
    """What the image's ENV instructions say, quotes gone."""
    return dict(word.split("=", 1) for rest in of("ENV") for word in shlex.split(rest))


def unit():
    """Sections of the unit; a key given twice is an error."""
    parser = configparser.ConfigParser(delimiters="=", comment_prefixes="#", interpolation=None, strict=True)
    parser.optionxform = str
    parser.read_string(text("deploy/edge-occ.service"))
    return parser


def filled(value):
    """A value of compose.yaml with its variables put in, as compose does."""

    def put(found):
        name, sign, default = found.groups()
        return ENVIRONMENT.get(name) or (default if sign == ":-" else pytest.fail(f"{name} is not set"))

    return re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", put, str(value))


def fenced():
    """Lines of the page's code blocks, continued ones joined."""
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", text("docs/jetson.md"), re.DOTALL | re.MULTILINE))
    return re.sub(r"\\\n", " ", blocks).splitlines()


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


# Dockerfile


def test_the_dockerfile_builds_from_fixed_images_and_ends_as_an_ordinary_user():
    known = {"ARG", "FROM", "RUN", "COPY", "USER", "VOLUME", "ENV", "ENTRYPOINT", "CMD", "HEALTHCHECK"}
    names = [name for name, _ in instructions()]
    assert set(names) <= known
    assert names[:2] == ["ARG", "FROM"]
    arguments = dict(rest.split("=", 1) for rest in of("ARG"))
    stages = set()
    for image in of("FROM"):
        name, _, stage = image.partition(" AS ")
        name = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], name)
        assert name in stages or re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", name), name
        stages.add(stage)
    assert set(re.findall(r"COPY --from=(\S+)", text("Dockerfile.jetson"))) <= stages
    last = max(n for n, name in enumerate(names) if name == "FROM")
    users = [rest for name, rest in instructions()[last:] if name == "USER"]
    assert users
    assert int(users[-1]) > 0
    assert f"useradd --uid {users[-1]} " in " ".join(of("RUN"))
    documented = set(re.findall(r"--build-arg (\w+)=", text("Dockerfile.jetson")))
    assert documented == set(compose()["services"]["edge-occ"]["build"]["args"]) == set(arguments)


def test_the_dockerfile_starts_programs_without_a_shell():
    for name in ("ENTRYPOINT", "CMD"):
        assert all(isinstance(word, str) for word in json.loads(of(name)[-1])), name
    options, check = of("HEALTHCHECK")[0].split(" CMD ")
    assert {option.split("=")[0] for option in options.split()} == {
        *("--interval", "--timeout", "--start-period", "--retries")
    }
    assert json.loads(check)[:2] == ["bash", "-c"]


def test_the_shell_lines_of_the_dockerfile_parse():
    for script in [*of("RUN"), json.loads(of("HEALTHCHECK")[0].split(" CMD ")[1])[2]]:
        subprocess.run(["bash", "-n", "-c", script], check=True)
        assert not re.search(r"(?<!\|)\|(?!\|)", script), "a pipe needs pipefail"
        if "apt-get install" in script:
            assert "apt-get update" in script
            assert "install -y --no-install-recommends" in script
            assert script.rstrip().endswith("rm -rf /var/lib/apt/lists/*")


def test_hadolint_finds_nothing_in_the_dockerfile():
    done = subprocess.run([tool("hadolint"), "Dockerfile.jetson"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_the_wheel_is_made_of_reaches_the_build_and_nothing_else():
    ignore = [line for line in text(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert ignore[0] == "*"
    assert ignore[-1] == "**/__pycache__"
    sent = {line.removeprefix("!") for line in ignore[1:-1]}
    assert all((ROOT / name).exists() for name in sent)
    packages = set(toml_list("tool.hatch.build.targets.wheel", "packages"))
    assert sent == packages | {"configs", "pyproject.toml", "README.md", "LICENSE"}
    assert [rest for rest in of("COPY") if "--from" not in rest] == [". /src"]


# names of packages


def apt_names(lines):
    found = [re.search(r"apt-get install(?: +-\S+)*((?: +[a-z][a-z0-9.+-]+)+)", line) for line in lines]
    return {name for names in found if names for name in names[1].split()}


def test_apt_packages_are_known_and_those_of_the_page_are_those_of_the_dockerfile():
    names = apt_names(of("RUN"))
    assert names == FROM_UBUNTU | FROM_NVIDIA
    assert apt_names(fenced()) == names - {"python3"}


def test_debian_has_the_packages_that_ubuntu_has():
    apt = tool("apt-cache")
    have = set(subprocess.run([apt, "pkgnames"], capture_output=True, text=True).stdout.split())
    if "python3-numpy" not in have:
        pytest.skip("apt has no lists here")
    assert have >= FROM_UBUNTU


def test_pip_packages_are_those_of_pyproject():
    """The project goes in without its dependencies, so each is named: the base less what apt has, and pycuda."""
    given = {"numpy", "opencv-python"}
    wanted = {r for r in toml_list("project", "dependencies") if re.split("[<>=]", r)[0] not in given}
    wanted |= set(toml_list("project.optional-dependencies", "jetson"))
    assert set(re.findall(r'"([a-z-]+[<>=][^"]+)"', " ".join(of("RUN")))) == wanted
    assert set(re.findall(r"'([a-z-]+>=[^']+)'", "\n".join(fenced()))) == wanted
    assert "numpy<2" in " ".join(of("RUN"))
    assert environment()["PIP_CONSTRAINT"] in " ".join(of("RUN"))


# paths


def cache_under(variables):
    code = "from engines.base import default_cache; print(default_cache())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True
    )
    return Path(done.stdout.strip())


def test_engines_are_kept_in_the_volume_and_in_the_units_cache():
    (volume,) = of("VOLUME")
    # The whole of it: GStreamer and CUDA keep things there, too, and elsewhere nobody may write.
    assert environment()["XDG_CACHE_HOME"] == volume
    assert Path(volume) in cache_under({"XDG_CACHE_HOME": volume}).parents
    assert f"--home-dir {volume} " in " ".join(of("RUN"))
    assert f"cache:{volume}" in compose()["services"]["edge-occ"]["volumes"]
    service = unit()["Service"]
    variables = dict(word.split("=", 1) for word in service["Environment"].split())
    assert variables.pop(TELEMETRY) == "1"
    folder = Path("/var/cache", service["CacheDirectory"])
    assert variables["XDG_CACHE_HOME"] == str(folder)
    assert all(folder in Path(path, "below").parents for path in (*variables.values(), cache_under(variables)))
    assert f"XDG_CACHE_HOME=/var/cache/{service['CacheDirectory']} {INSTALLED}" in text("docs/jetson.md")


def test_paths_agree():
    service = unit()["Service"]
    page = text("docs/jetson.md")
    assert service["ExecStart"].split()[0] == INSTALLED
    assert "/opt/edge-occ/bin" in environment()["PATH"]
    for path in (service["WorkingDirectory"], service["EnvironmentFile"].lstrip("-"), "deploy/edge-occ.service"):
        assert path in page, path
    assert f"install -m 600 /dev/null {service['EnvironmentFile'].lstrip('-')}" in page
    assert Path(service["WorkingDirectory"]).parts[1] not in ("home", "root"), "ProtectHome hides it"
    bundles, _ = compose()["services"]["edge-occ"]["volumes"]
    assert bundles == "./bundles:/bundles:ro"
    for mount in compose()["services"]["broker"]["volumes"]:
        source = mount.split(":")[0]
        assert not source.startswith(".") or (ROOT / source).is_file(), source
    assert f"edge-occ:{__version__}" == compose()["services"]["edge-occ"]["image"]
    assert set(re.findall(r"edge-occ:(\d[\d.]*)", text("Dockerfile.jetson"))) == {__version__}


def test_the_health_check_reads_the_file_that_run_writes(tmp_path):
    assert environment()["EDGE_OCC_HEARTBEAT"] == "/dev/shm/edge-occ"
    check = json.loads(of("HEALTHCHECK")[0].split(" CMD ")[1])
    file = tmp_path / "a heartbeat"

    def healthy():
        variables = {**os.environ, "EDGE_OCC_HEARTBEAT": str(file)}
        return subprocess.run(check, env=variables, capture_output=True).returncode == 0

    assert not healthy()
    file.touch()
    assert healthy()
    os.utime(file, (time.time() - 90,) * 2)
    assert not healthy()


# commands


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


# compose


def test_compose_restarts_limits_logs_and_hands_out_no_rights():
    services = compose()["services"]
    assert set(services) == {"broker", "edge-occ"}
    known = {
        *("build", "cap_drop", "command", "depends_on", "devices", "environment", "group_add", "healthcheck"),
        *("hostname", "image", "logging", "ports", "read_only", "restart", "runtime", "security_opt"),
        *("stop_grace_period", "tmpfs", "user", "volumes"),
    }
    for name, service in services.items():
        assert set(service) <= known, name
        assert service["restart"] == "unless-stopped", name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged"), name
        variables = dict(service["environment"])
        assert variables.pop(TELEMETRY, None) == (None if name == "broker" else "1"), name
        assert {USERNAME, PASSWORD} == set(variables), name
        assert all(":?" in value for value in variables.values()), "a password must have no default"
        tag = filled(service["image"]).rpartition(":")[2]
        assert re.fullmatch(r"[\d.]+", tag), tag
    assert services["edge-occ"]["runtime"] == "nvidia"
    for variable in re.findall(r"\$\{(\w+):", text("compose.yaml")):
        assert variable in text("docs/jetson.md"), variable


def test_docker_compose_accepts_the_file():
    program = tool("docker-compose")
    done = subprocess.run(
        [program, "-f", "compose.yaml", "config", "--format", "json"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **ENVIRONMENT},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    service = json.loads(done.stdout)["services"]["edge-occ"]
    assert service["environment"][PASSWORD].replace("$$", "$") == ENVIRONMENT[PASSWORD]
    assert service["command"][-1] == "mqtt://broker:1883"


# systemd


def test_the_unit_is_well_formed():
    """Only keys of systemd 249, which Ubuntu 22.04 has."""
    known = {
        "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec"},
        "Service": {
            *("Type", "User", "SupplementaryGroups", "WorkingDirectory", "EnvironmentFile", "Environment", "ExecStart"),
            *("CacheDirectory", "SuccessExitStatus", "RestartPreventExitStatus", "Restart", "RestartSec"),
            *("TimeoutStopSec", "NoNewPrivileges", "CapabilityBoundingSet", "ProtectSystem", "ReadWritePaths"),
            *("ProtectHome", "ProtectKernelModules", "ProtectKernelTunables", "ProtectKernelLogs"),
            *("ProtectControlGroups", "ProtectHostname", "RestrictAddressFamilies", "RestrictNamespaces"),
            *("RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "SystemCallArchitectures"),
        },
        "Install": {"WantedBy"},
    }
    sections = unit()
    assert set(sections.sections()) == set(known)
    for section, keys in known.items():
        assert set(sections[section]) <= keys
    service = sections["Service"]
    assert service["User"] not in ("", "root")
    assert service["Restart"] == "always"
    assert "video" in service["SupplementaryGroups"].split()
    useradd = re.search(r"useradd --system --groups (\S+) (\S+)", text("docs/jetson.md"))
    assert useradd.groups() == (",".join(service["SupplementaryGroups"].split()), service["User"])


def test_systemd_accepts_the_unit(tmp_path):
    program = tool("systemd-analyze")
    file = tmp_path / "edge-occ.service"
    # It looks for the program, too, which is not here.
    file.write_text(text("deploy/edge-occ.service").replace(INSTALLED, "/bin/true"))
    done = subprocess.run([program, "verify", "--man=no", str(file)], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "edge-occ.service" in line]
    assert (done.returncode, complaints) == (0, [])
