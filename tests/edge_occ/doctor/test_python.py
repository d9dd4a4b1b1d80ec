"""Python, numpy and OpenCV, with the words that broken installations really say."""

from importlib import metadata

import cv2
import numpy as np
import pytest

from edge_occ.doctor.machine import Machine, read_machine
from edge_occ.doctor.probing import ProbeResult
from edge_occ.doctor.python import (
    as_tuple,
    built_with,
    check_numpy,
    check_opencv,
    check_packages,
    check_python,
    read_packages,
    read_vision,
)
from edge_occ.doctor.report import CheckState

PC = Machine(venv=True, executable="/opt/env/bin/python", system="Ubuntu 24.04.3 LTS", python=(3, 12, 3))
JETSON = Machine(
    arch="aarch64",
    board="NVIDIA Jetson AGX Orin Developer Kit",
    l4t="36.4.3",
    executable="/home/me/edge-occ/bin/python",
    prefix="/home/me/edge-occ",
    python=(3, 10, 12),
    venv=True,
    system_site=True,
)
APT = "/usr/lib/python3/dist-packages/cv2.cpython-310-aarch64-linux-gnu.so"
WHEEL = "/opt/env/lib/python3.10/site-packages/cv2/__init__.py"

BUILD_OF_APT = """
General configuration for OpenCV 4.5.4 =====================================
  Video I/O:
    DC1394:                      YES (2.2.6)
    FFMPEG:                      YES
      avcodec:                   YES (58.134.100)
    GStreamer:                   YES (1.20.1)
    v4l/v4l2:                    YES (linux/videodev2.h)
"""
# OpenCV 4.5.5.64 from PyPI with numpy 2.2.6.
ABI_OLD = """RuntimeError: module compiled against ABI version 0x1000009 but this version of numpy is 0x2000000
Traceback (most recent call last):
  File "<string>", line 1, in <module>
  File "/opt/env/lib/python3.10/site-packages/cv2/__init__.py", line 8, in <module>
    from .cv2 import *
ImportError: numpy.core.multiarray failed to import
"""
# OpenCV 4.8.1.78 from PyPI with numpy 2.2.6.
ABI_NEW = """
A module that was compiled using NumPy 1.x cannot be run in
NumPy 2.2.6 as it may crash. To support both 1.x and 2.x
versions of NumPy, modules must be compiled with NumPy 2.0.

Traceback (most recent call last):  File "<string>", line 1, in <module>
AttributeError: _ARRAY_API not found
Traceback (most recent call last):
  File "<string>", line 1, in <module>
ImportError: numpy.core.multiarray failed to import
"""
NO_LIBGL = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
NO_TLS = "ImportError: /usr/lib/aarch64-linux-gnu/libGLdispatch.so.0: cannot allocate memory in static TLS block"


def broken(path, text, numpy="2.2.6"):
    return ProbeResult("", text, text.strip().splitlines()[-1], {"numpy": numpy, "path": path})


def only(checks):
    assert len(checks) == 1, checks
    return checks[0]


@pytest.mark.parametrize("text", [ABI_OLD, ABI_NEW])
def test_numpy_2_over_the_systems_opencv_on_a_jetson(text):
    check = only(check_opencv(JETSON, broken(APT, text), ()))
    assert check.state is CheckState.WRONG
    assert check.needed
    assert "from apt: built for another numpy than 2.2.6" in check.found
    assert check.fix == "/home/me/edge-occ/bin/python -m pip install 'numpy<2'"


@pytest.mark.parametrize("text", [ABI_OLD, ABI_NEW])
def test_an_old_wheel_with_numpy_2_is_upgraded(text):
    check = only(check_opencv(PC, broken(WHEEL, text), ("opencv-python-headless",)))
    assert check.fix == "/opt/env/bin/python -m pip install -U opencv-python-headless"


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        (NO_LIBGL, "sudo apt install libgl1"),
        (NO_LIBGL.replace("libGL.so.1", "libgthread-2.0.so.0"), "sudo apt install libglib2.0-0"),
        (NO_TLS, "export LD_PRELOAD=/usr/lib/aarch64-linux-gnu/libGLdispatch.so.0"),
        ("ImportError: something else", "sudo apt install --reinstall python3-opencv"),
    ],
)
def test_an_opencv_that_does_not_load(text, fix):
    check = only(check_opencv(JETSON, broken(APT, text, "1.21.5"), ()))
    assert (check.state, check.fix) == (CheckState.WRONG, fix)
    assert text in check.found


def test_an_opencv_that_ends_the_interpreter():
    answer = ProbeResult(fault="ended by SIGSEGV", facts={"numpy": "1.26.4", "path": WHEEL})
    check = only(check_opencv(PC, answer, ("opencv-python",)))
    assert "ended by SIGSEGV" in check.found
    assert check.fix == "/opt/env/bin/python -m pip install --force-reinstall --no-deps opencv-python"


def test_a_jetson_in_order():
    answer = ProbeResult(facts={"numpy": "1.21.5", "path": APT, "cv2": "4.5.4", "build": BUILD_OF_APT})
    assert check_numpy(JETSON, answer).found == "1.21.5, ABI 1"
    check = only(check_opencv(JETSON, answer, ()))
    assert (check.state, check.found) == (CheckState.OK, "4.5.4 from apt; GStreamer yes, FFmpeg yes, V4L yes")


def test_a_wheel_without_gstreamer_matters_on_a_jetson_only():
    build = BUILD_OF_APT.replace("GStreamer:                   YES (1.20.1)", "GStreamer:                   NO")
    answer = ProbeResult(facts={"numpy": "2.2.6", "path": WHEEL, "cv2": "4.12.0", "build": build})
    only(check_opencv(PC, answer, ("opencv-python",)))
    opencv, gstreamer = check_opencv(JETSON, answer, ("opencv-python",))
    assert opencv.state is CheckState.OK
    assert (gstreamer.name, gstreamer.state) == ("gstreamer", CheckState.NOTE)
    assert gstreamer.fix.endswith("-m pip uninstall -y opencv-python && sudo apt install python3-opencv")


def test_two_wheels_overwrite_one_another():
    answer = ProbeResult(facts={"numpy": "2.2.6", "path": WHEEL, "cv2": "4.12.0", "build": BUILD_OF_APT})
    _, twice = check_opencv(PC, answer, ("opencv-python", "opencv-python-headless"))
    assert twice.state is CheckState.WRONG
    assert "uninstall -y opencv-python opencv-python-headless && " in twice.fix


def test_too_old_or_not_there():
    old = ProbeResult(facts={"numpy": "1.17.4", "path": APT, "cv2": "4.2.0", "build": BUILD_OF_APT})
    assert check_numpy(JETSON, old).state is CheckState.WRONG
    assert only(check_opencv(JETSON, old, ())).state is CheckState.WRONG
    none = ProbeResult(facts={"numpy": "1.21.5", "path": None})
    assert only(check_opencv(JETSON, none, ())).fix == "sudo apt install python3-opencv"
    assert only(check_opencv(PC, none, ())).fix == "/opt/env/bin/python -m pip install opencv-python"
    text = "ModuleNotFoundError: No module named 'numpy'"
    nothing = ProbeResult(errors=text, fault=text)
    assert check_numpy(JETSON, nothing).fix == "sudo apt install python3-numpy"
    assert check_numpy(PC, nothing).state is CheckState.MISSING
    assert only(check_opencv(PC, nothing, ())).needed


def test_this_python_and_this_opencv():
    machine, (answer, wheels) = read_machine(), read_vision()
    assert check_numpy(machine, answer).found.startswith(np.__version__)
    checks = check_opencv(machine, answer, wheels)
    assert checks[0].state is CheckState.OK
    assert checks[0].found.startswith(f"{cv2.__version__} from ")
    information = cv2.getBuildInformation()
    assert built_with(information, "v4l/v4l2") == ("linux/videodev2.h" in information)
    assert not built_with(information, "Streamer")


@pytest.mark.parametrize(
    ("machine", "state", "fix"),
    [
        (PC, CheckState.OK, None),
        (JETSON, CheckState.OK, None),
        (
            Machine(board="NVIDIA", l4t="36.4.3", venv=True, prefix="/home/me/env"),
            CheckState.WRONG,
            "/usr/bin/python3 -m venv --system-site-packages /home/me/env",
        ),
        (
            Machine(board="NVIDIA", l4t="36.4.3", system_python=False, python=(3, 13, 0)),
            CheckState.WRONG,
            "/usr/bin/python3 -m venv --system-site-packages ~/edge-occ && ~/edge-occ/bin/pip install edge-occ",
        ),
        (
            Machine(managed=True),
            CheckState.NOTE,
            "python3 -m venv --system-site-packages ~/edge-occ && ~/edge-occ/bin/pip install edge-occ",
        ),
        (Machine(python=(3, 8, 10)), CheckState.WRONG, None),
    ],
)
def test_pythons(machine, state, fix):
    check = check_python(machine)
    assert (check.state, check.fix) == (state, fix)


def test_packages():
    requirements = ["numpy>=1.21", "opencv-python>=4.5", "onnxruntime>=1.17", "paho-mqtt>=2.2", "pydantic>=2.6", "rich"]
    installed = {"paho-mqtt": "2.2", "pydantic": "2.10.1", "rich": "9.1"}
    assert check_packages(PC, requirements, installed).state is CheckState.OK
    # What Ubuntu 22.04's apt brings is older than what is needed.
    old = check_packages(PC, requirements, {**installed, "pydantic": "1.8.2"})
    assert (old.state, old.needed) == (CheckState.WRONG, True)
    assert old.fix == "/opt/env/bin/python -m pip install 'pydantic>=2.6'"
    missing = check_packages(PC, requirements, {"pydantic": "1.8.2", "rich": "13"})
    assert missing.state is CheckState.MISSING
    assert missing.fix.endswith("'paho-mqtt>=2.2' 'pydantic>=2.6'")
    assert check_packages(PC, None, {}).state is CheckState.NOTE


def test_the_requirements_are_those_of_the_installed_package(tmp_path, monkeypatch):
    folder = tmp_path / "edge_occ-9.9.dist-info"
    folder.mkdir()
    lines = [
        "Requires-Dist: pydantic>=2.6",
        "Requires-Dist: no-such-package>=1",
        "Requires-Dist: torch; extra == 'train'",
    ]
    (folder / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.1", "Name: edge-occ", "Version: 9.9", *lines]) + "\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    requirements, installed = read_packages()
    assert requirements == ["pydantic>=2.6", "no-such-package>=1"]
    assert installed == {"pydantic": metadata.version("pydantic")}
    assert check_packages(PC, requirements, installed).state is CheckState.MISSING


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("10.3.0.26", (10, 3, 0, 26)), ("2.0.0rc1", (2, 0, 0)), ("1.21", (1, 21)), ("unknown", ())],
)
def test_versions(version, numbers):
    assert as_tuple(version) == numbers
