"""The Dockerfile: its base images, its user, its packages."""

import json
import re
import shlex
import subprocess

import pytest
from deployment import (
    ROOT,
    calls,
    compose,
    environment,
    fenced,
    health_check,
    instructions,
    of,
    options_of,
    text,
    tool,
    volumes,
)

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
    assert account["--home-dir"] in volumes()
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


def apt_names(lines):
    return {word for words in calls("apt-get", lines) if "install" in words for word in words[2:] if word[0] != "-"}


def requirements(lines):
    """Requirements with a version that are given to ``pip install`` by name."""
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
