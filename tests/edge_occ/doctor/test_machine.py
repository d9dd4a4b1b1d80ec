"""JetPack 5.1, 6.2 and 7.2, and a PC, by what their files say."""

import dataclasses
import os
import platform
import sys

import pytest

from edge_occ.doctor.machine import Machine, jetpack, read_machine
from edge_occ.doctor.probing import ProbeResult
from edge_occ.doctor.report import CheckState
from edge_occ.doctor.system import check_board, check_clock, check_memory, check_power, check_processors
from engines.cuda.jetson import l4t_release

# First lines of /etc/nv_tegra_release, as boards have them.
RELEASES = {
    "5": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, DATE: Tue Aug  1 19:57:35",
    "6.2": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37",
    "6.2.1": "# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64, DATE: Thu Sep 18 22:54:44",
    "7.2": "# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64, DATE: Mon Jun  1 09:28:48",
}
ORIN_NANO = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
MODES = """
< PM_CONFIG DEFAULT=1 >
< POWER_MODEL ID=0 NAME=15W >
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< POWER_MODEL ID=3 NAME=7W >
"""


@pytest.mark.parametrize(("expected", "line"), RELEASES.items())
def test_jetpack_by_the_release_file(tmp_path, expected, line):
    file = tmp_path / "nv_tegra_release"
    file.write_text(line + "\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n")
    assert jetpack(l4t_release(file)) == expected


@pytest.mark.parametrize(
    ("l4t", "expected"), [("36.9.9", "6"), ("32.7.1", "4 or older"), ("39.4.0", "7"), ("41.0.0", "newer than 7")]
)
def test_unknown_releases_are_still_placed(l4t, expected):
    assert jetpack(l4t) == expected


def test_jetpack_5_is_refused_with_words_and_newer_are_not():
    old = check_board(Machine(arch="aarch64", board="NVIDIA Jetson Xavier NX Developer Kit", l4t="35.4.1"))
    assert old.state is CheckState.WRONG
    assert "JetPack 5 (Jetson Linux 35.4.1)" in old.found
    assert "flash JetPack 6.2" in old.found
    assert check_board(Machine(arch="aarch64", board=ORIN_NANO, l4t="36.3.0")).state is CheckState.WRONG
    for l4t in ("36.4.0", "36.4.3", "36.5", "39.2.0"):
        assert check_board(Machine(arch="aarch64", board=ORIN_NANO, l4t=l4t)).state is CheckState.OK


def test_a_container_on_a_jetson_is_known_by_its_board():
    assert Machine(board=ORIN_NANO, l4t=None).jetson
    assert not Machine(board="Raspberry Pi 5 Model B Rev 1.0").jetson
    assert not Machine().jetson


def test_power_modes_by_number_and_name():
    machine = Machine(board=ORIN_NANO, l4t="36.4.3")
    slow = check_power(machine, "1", MODES, steady=True)
    assert (slow.state, slow.fix) == (CheckState.NOTE, "sudo nvpmodel -m 2")
    assert "25W" in slow.found
    uneven = check_power(machine, "2", MODES, steady=False)
    assert (uneven.state, uneven.fix) == (CheckState.NOTE, "sudo jetson_clocks")
    assert check_power(machine, "2", MODES, steady=True).state is CheckState.OK
    both = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=4 NAME=MAXN_SUPER >\n< POWER_MODEL ID=1 NAME=10W >"
    assert check_power(machine, "1", both, steady=True).fix == "sudo nvpmodel -m 4"
    assert check_power(machine, "1", "", steady=True).found == "mode 1, clocks steady"
    assert check_power(machine, None, "", steady=True).state is CheckState.NOTE


def test_memory():
    plenty = "MemTotal:        7802256 kB\nMemFree:          190000 kB\nMemAvailable:    4910080 kB\n"
    assert check_memory(plenty).found == "5.0 GB free of 8.0 GB"
    assert check_memory(plenty.replace("4910080", "500000")).state is CheckState.NOTE
    assert check_memory("").state is CheckState.NOTE


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (ProbeResult("yes\n"), CheckState.OK),
        (ProbeResult("no\n"), CheckState.WRONG),
        (
            ProbeResult("", "System has not been booted with systemd as init system (PID 1). Can't operate.", "x"),
            CheckState.NOTE,
        ),
        (ProbeResult(fault="No such file or directory"), CheckState.NOTE),
    ],
)
def test_clock(answer, state):
    check = check_clock(Machine(), answer)
    assert check.state is state
    assert (check.fix == "sudo timedatectl set-ntp true") == (state is CheckState.WRONG)


def test_a_system_that_does_not_name_itself(monkeypatch):
    monkeypatch.setattr("edge_occ.doctor.machine.read_text", lambda path: "")
    assert read_machine().system == "Linux"


def test_this_machine():
    machine = read_machine()
    assert machine.python == sys.version_info[:3]
    assert machine.arch == platform.machine()
    assert machine.system == platform.freedesktop_os_release()["PRETTY_NAME"]
    assert machine.venv == (sys.prefix != sys.base_prefix)


def test_commands_suit_user_and_python():
    jetson = Machine(
        board=ORIN_NANO, l4t="36.4.3", venv=True, system_site=True, executable="/home/me/my env/bin/python"
    )
    assert jetson.pip_install("onnxruntime") == "'/home/me/my env/bin/python' -m pip install 'numpy<2' onnxruntime"
    assert jetson.apt_install("mosquitto") == "sudo apt install mosquitto"
    assert Machine(root=True).apt_install("mosquitto") == "apt install mosquitto"
    assert Machine(apt=False).apt_install("mosquitto") is None
    others = dataclasses.replace(jetson, executable="/opt/edge-occ/bin/python", writable=False)
    assert others.pip("install x", "A=1") == "sudo env A=1 /opt/edge-occ/bin/python -m pip install x"
    blind = dataclasses.replace(others, prefix="/opt/edge-occ", system_site=False)
    assert blind.see_system_packages() == "sudo /usr/bin/python3 -m venv --system-site-packages /opt/edge-occ"
    assert "numpy<2" not in Machine().pip_install("onnxruntime")


def test_processors_and_the_quota_of_a_container(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    free = check_processors(tmp_path)
    assert (free.state, free.found) == (CheckState.OK, "4 of 8 may be used")
    for folder, name, text in (("proc/self", "cgroup", "0::/\n"), ("sys/fs/cgroup", "cpu.max", "150000 100000\n")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).write_text(text)
    limited = check_processors(tmp_path)
    assert (limited.state, limited.found) == (CheckState.NOTE, "2 of 8 may be used: this container's quota is 1.5")
