"""What goes onto a device: Dockerfile, compose file, unit and their page, as far as a machine without GPU can tell."""

import configparser
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
from deployment import ENVIRONMENT, ROOT, compose, text, tool
from typer.testing import CliRunner

from edge_occ import __version__
from edge_occ.cli import app
from edge_occ.common.errors import BundleRefused, EngineUnavailable, Hung, InputError, SourceLost
from edge_occ.common.settings import load_settings
from edge_occ.mqtt.broker import PASSWORD, USERNAME, parse_broker
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.heartbeat import FILE, SECONDS, HeartbeatFile, heartbeat_from_environment
from edge_occ.runtime.watchdog import FIRST_SECONDS, Watchdog
from edge_occ.sources.uri import SourceKind, parse_uri

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


def calls(program, lines):
    """Every call of a program in these shell lines, as words; redirections and the like stay in."""
    for line in lines:
        words = shlex.split(line, comments=True)
        starts = [n for n, word in enumerate(words) if word in ("&&", "||", ";", "|")]
        for first, last in zip([0, *(n + 1 for n in starts)], [*starts, len(words)], strict=True):
            # In front of it may stand a variable.
            if program in words[first : min(first + 2, last)]:
                yield words[words.index(program, first) : last]


def options_of(words):
    """Each option of a call with the word behind it."""
    return {word: value for word, value in pairwise(words) if word.startswith("-")}


def health_check():
    """Its options and its command, as they stand."""
    (line,) = of("HEALTHCHECK")
    options, _, command = line.partition(" CMD ")
    return options, command


def mounts(service):
    """What is mounted where in a service: source by target."""
    pairs = [entry.split(":")[:2] for entry in compose()["services"][service]["volumes"]]
    return {target: source for source, target in pairs}


def environment():
    """What the image's ENV instructions say, quotes gone."""
    return dict(word.split("=", 1) for rest in of("ENV") for word in shlex.split(rest))


class UnitParser(configparser.ConfigParser):
    """Keeps capitals in keys."""

    def optionxform(self, optionstr):
        return optionstr


def unit():
    """Sections of the unit; a key given twice is an error."""
    parser = UnitParser(delimiters="=", comment_prefixes="#", interpolation=None, strict=True)
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


def test_the_dockerfile_builds_from_images_of_a_fixed_version():
    arguments = dict(rest.split("=", 1) for rest in of("ARG"))
    stages = set()
    for image in of("FROM"):
        name, _, stage = image.partition(" AS ")
        name = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], name)
        tag = name.rpartition("/")[2].partition(":")[2]
        assert name in stages or re.search(r"\d", tag), name
        stages.add(stage)
    copied = [word for rest in of("COPY") for word in shlex.split(rest) if word.startswith("--from=")]
    assert {word.removeprefix("--from=") for word in copied} <= stages
    asked_for = set(re.findall(r"--build-arg (\w+)=", text("Dockerfile.jetson")))
    assert asked_for | set(compose()["services"]["edge-occ"]["build"]["args"]) <= set(arguments)


def test_the_image_ends_as_an_ordinary_user_whose_home_outlives_the_container():
    last = max(n for n, (name, _) in enumerate(instructions()) if name == "FROM")
    stage = instructions()[last:]
    (user,) = [rest for name, rest in stage if name == "USER"]
    created = [options_of(words) for words in calls("useradd", [rest for name, rest in stage if name == "RUN"])]
    (account,) = [options for options in created if options["--uid"] == user]
    assert int(user) > 0
    assert account["--home-dir"] in of("VOLUME")
    assert "video" in account["--groups"].split(",")


def test_the_image_starts_programs_without_a_shell():
    """A shell as PID 1 would keep SIGTERM to itself."""
    for name in ("ENTRYPOINT", "CMD"):
        assert all(isinstance(word, str) for word in json.loads(of(name)[-1])), name
    assert isinstance(json.loads(health_check()[1]), list)


def test_the_shell_lines_of_the_dockerfile_parse():
    for script in [*of("RUN"), json.loads(health_check()[1])[2]]:
        subprocess.run(["bash", "-n", "-c", script], check=True)


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
    return {word for words in calls("apt-get", lines) if "install" in words for word in words[2:] if word[0] != "-"}


def requirements(lines):
    """What is given to ``pip install`` by name, as far as it says a version."""
    installs = [words for name in ("pip", "/opt/edge-occ/bin/pip") for words in calls(name, lines)]
    return {word for words in installs if words[1] == "install" for word in words[2:] if re.search("[<>=]=", word)}


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
    assert requirements(of("RUN")) == requirements(fenced()) == wanted


def test_pip_is_kept_from_a_numpy_that_the_systems_opencv_does_not_fit(tmp_path):
    """The line that writes the constraints is run, with the file elsewhere."""
    file = environment()["PIP_CONSTRAINT"]
    (script,) = [script for script in of("RUN") if f"> {file}" in script]
    subprocess.run(["bash", "-euc", script.replace(file, f"{tmp_path}/constraints")], check=True)
    (line,) = (tmp_path / "constraints").read_text().splitlines()
    name, specifier = re.fullmatch(r"(\w+)(.+)", line).groups()
    assert name == "numpy"
    assert specifier == "<2"


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


# who starts again what hangs


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


def configured(**changes):
    """The compose file as Docker's own parser reads it; ``None`` leaves a variable out."""
    variables = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **ENVIRONMENT, **changes}
    return subprocess.run(
        [tool("docker-compose"), "-f", "compose.yaml", "config", "--format", "json"],
        cwd=ROOT,
        env={name: value for name, value in variables.items() if value is not None},
        capture_output=True,
        text=True,
    )


def test_no_service_has_rights_that_it_does_not_need():
    for name, service in compose()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "ipc"}, name
        assert (TELEMETRY in service["environment"]) == (name != "broker"), name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        tag = filled(service["image"]).rpartition(":")[2]
        assert re.fullmatch(r"[\d.]+", tag), tag
    for variable in re.findall(r"\$\{(\w+):", text("compose.yaml")):
        assert variable in text("docs/jetson.md"), variable


def test_a_container_starts_without_its_camera_and_sees_it_when_it_is_plugged_in():
    service = compose()["services"]["edge-occ"]
    # Docker refuses to start a container with a device that is missing, and never passes it on later.
    assert "devices" not in service
    assert mounts("edge-occ")["/dev"] == "/dev"
    (rule,) = service["device_cgroup_rules"]
    kind, numbers, access = rule.split()
    # VIDEO_MAJOR of the kernel, and no other device.
    assert (kind, numbers, set(access)) == ("c", "81:*", {"r", "w"})
    source = parse_uri(filled(service["command"][service["command"].index("--source") + 1]))
    assert source.kind is SourceKind.CAMERA
    assert Path(source.target).is_relative_to("/dev")


def test_the_heartbeat_lies_in_memory_that_is_the_containers_own():
    """With the host's /dev its /dev/shm would be the host's, too, and one for all stations on it."""
    folders = [entry.partition(":")[0] for entry in compose()["services"]["edge-occ"]["tmpfs"]]
    assert str(Path(environment()[FILE]).parent) in folders


def test_a_stop_is_heard_while_python_still_imports():
    """PID 1 is deaf to the signals that it has no handler for; Docker's init is not."""
    for name, service in compose()["services"].items():
        assert service["init"] is True, name


def test_docker_compose_accepts_the_file():
    done = configured()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    services = json.loads(done.stdout)["services"]
    for service in services.values():
        assert service["environment"][PASSWORD].replace("$$", "$") == ENVIRONMENT[PASSWORD]
    assert services["edge-occ"]["command"][-1] == "mqtt://broker:1883"
    assert services["edge-occ"]["runtime"] == "nvidia"
    assert [port["host_ip"] for port in services["broker"]["ports"]] == ["127.0.0.1"]


@pytest.mark.parametrize("variable", [USERNAME, PASSWORD, "EDGE_OCC_DEVICE"])
def test_nothing_starts_with_a_password_that_nobody_chose(variable):
    done = configured(**{variable: None})
    assert done.returncode != 0
    assert variable in done.stderr


def test_another_camera_and_another_time_are_taken_from_the_environment():
    done = configured(EDGE_OCC_CAMERA="/dev/v4l/by-id/usb-x", EDGE_OCC_WATCHDOG="600")
    service = json.loads(done.stdout)["services"]["edge-occ"]
    assert "v4l2:///dev/v4l/by-id/usb-x" in service["command"]
    assert service["environment"][SECONDS] == "600"


# systemd


def test_the_unit_is_well_formed():
    """Only keys of systemd 249, which Ubuntu 22.04 has."""
    known = {
        "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec"},
        "Service": {
            *(
                "Type",
                "TimeoutStartSec",
                "WatchdogSec",
                "User",
                "SupplementaryGroups",
                "WorkingDirectory",
                "EnvironmentFile",
                "Environment",
                "ExecStart",
            ),
            *(
                "CacheDirectory",
                "StateDirectory",
                "SuccessExitStatus",
                "RestartPreventExitStatus",
                "Restart",
                "RestartSec",
            ),
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
    assert "video" in service["SupplementaryGroups"].split()
    (created,) = calls("useradd", fenced())
    assert created[-1] == service["User"]
    assert options_of(created)["--groups"].split(",") == service["SupplementaryGroups"].split()


def test_systemd_accepts_the_unit(tmp_path):
    program = tool("systemd-analyze")
    file = tmp_path / "edge-occ.service"
    # It looks for the program, too, which is not here.
    file.write_text(text("deploy/edge-occ.service").replace(INSTALLED, "/bin/true"))
    done = subprocess.run([program, "verify", "--man=no", str(file)], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "edge-occ.service" in line]
    assert (done.returncode, complaints) == (0, [])
