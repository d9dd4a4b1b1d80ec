"""Helpers of the deployment's tests: its files, the tools that check them, and the variables that fill them."""

import configparser
import os
import re
import shlex
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from edge_occ.mqtt.broker import PASSWORD, USERNAME

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {"EDGE_OCC_DEVICE": "station-1", USERNAME: "line", PASSWORD: "p a$s 'word'"}
TELEMETRY = "ORT_DISABLE_TELEMETRY"
INSTALLED = "/opt/edge-occ/bin/edge-occ"


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def tool(name):
    """A program on the PATH, beside this Python, or a reason to skip."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=os.pathsep.join([str(beside), os.environ.get("PATH", ""), "/usr/sbin"]))
    return found or pytest.skip(f"no {name} here")


def compose():
    return yaml.safe_load(text("compose.yaml"))


def instructions():
    """Names and arguments of the Dockerfile, comments gone and lines joined."""
    lines = [line for line in text("Dockerfile.jetson").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def of(name):
    return [rest for instruction, rest in instructions() if instruction == name]


def volumes():
    """Folders of the image that outlive its containers."""
    return [folder for rest in of("VOLUME") for folder in rest.split()]


def options_of(words):
    """Each option of a call with the word behind it."""
    return {word: value for word, value in pairwise(words) if word.startswith("-")}


def health_check():
    """Its options and its command, as they stand."""
    (line,) = of("HEALTHCHECK")
    options, _, command = line.partition(" CMD ")
    return options, command


def mounts(service):
    """The mounts of a service: source by target."""
    pairs = [entry.split(":")[:2] for entry in compose()["services"][service]["volumes"]]
    return {target: source for source, target in pairs}


def environment():
    """The image's ENV instructions, without quotes."""
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


def calls(program, lines):
    """Every call of a program in these shell lines, as words; redirections and the like stay in."""
    for line in lines:
        words = shlex.split(line, comments=True)
        starts = [n for n, word in enumerate(words) if word in ("&&", "||", ";", "|")]
        for first, last in zip([0, *(n + 1 for n in starts)], [*starts, len(words)], strict=True):
            # In front of it may stand a variable.
            if program in words[first : min(first + 2, last)]:
                yield words[words.index(program, first) : last]
