"""numpy and OpenCV: there, of one ABI, with their system libraries, with GStreamer."""

from __future__ import annotations

import re

from edge_occ.doctor.machine import Machine
from edge_occ.doctor.probing import Answer, ask_python
from edge_occ.doctor.python import as_tuple, version_of
from edge_occ.doctor.report import Check, State

_OLDEST_NUMPY, _OLDEST_OPENCV = (1, 21), (4, 5)

WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
"""Packages on PyPI that bring ``cv2``; they overwrite one another."""

_PROBE = """
import importlib.util
import numpy
say(numpy=numpy.__version__)
spec = importlib.util.find_spec("cv2")
say(path=spec and spec.origin)
if spec:
    import cv2
    say(cv2=cv2.__version__, build=cv2.getBuildInformation())
"""

_OTHER_ABI = ("numpy.core.multiarray failed to import", "_ARRAY_API not found", "compiled against ABI version")
_SYSTEM_LIBRARIES = {"libGL.so": "libgl1", "libgthread-2.0": "libglib2.0-0", "libglib-2.0": "libglib2.0-0"}


def read_vision() -> tuple[Answer, tuple[str, ...]]:
    """Import both in a child, as a wrong ABI may end the interpreter; and which wheels of OpenCV are installed."""
    return ask_python(_PROBE), tuple(wheel for wheel in WHEELS if version_of(wheel))


def check_numpy(machine: Machine, answer: Answer) -> Check:
    """Version and ABI of numpy."""
    version = answer.facts.get("numpy")
    if version is None:
        state = State.MISSING if "No module named 'numpy'" in answer.errors else State.WRONG
        by_apt = machine.apt_install("python3-numpy") if machine.jetson and machine.sees_system_packages else None
        return Check("numpy", state, answer.fault, by_apt or machine.pip_install("numpy"), needed=True)
    abi = 2 if as_tuple(version) >= (2,) else 1
    found = f"{version}, ABI {abi}"
    if as_tuple(version) < _OLDEST_NUMPY:
        fix = machine.pip_install("'numpy>=1.21'")
        return Check("numpy", State.WRONG, f"{found}; 1.21 or newer is needed", fix, needed=True)
    return Check("numpy", State.OK, found, needed=True)


def check_opencv(machine: Machine, answer: Answer, wheels: tuple[str, ...]) -> list[Check]:
    """Whether OpenCV loads, where it comes from, and what it was built with."""
    numpy, path = answer.facts.get("numpy"), answer.facts.get("path")
    if numpy is None:
        return [Check("opencv", State.WRONG, "not tried, as it needs numpy", needed=True)]
    if path is None:
        found = "no module cv2" if "path" in answer.facts else answer.fault
        return [Check("opencv", State.MISSING, found, _install(machine), needed=True)]
    origin = "apt" if "dist-packages" in path and not wheels else (" and ".join(wheels) or "built here")
    version = answer.facts.get("cv2")
    if version is None:
        found, fix = _mend(machine, answer, origin, numpy)
        return [Check("opencv", State.WRONG, f"from {origin}: {found}", fix, needed=True)]
    build = {key: built_with(answer.facts["build"], name) for key, name in _PARTS.items()}
    found = f"{version} from {origin}; " + ", ".join(f"{key} {'yes' if has else 'no'}" for key, has in build.items())
    if as_tuple(version) < _OLDEST_OPENCV:
        return [Check("opencv", State.WRONG, f"{found}; 4.5 or newer is needed", _install(machine), needed=True)]
    checks = [Check("opencv", State.OK, found, needed=True)]
    if len(wheels) > 1:
        fix = machine.pip(f"uninstall -y {' '.join(wheels)}") + f" && {machine.pip_install(wheels[0])}"
        checks.append(Check("opencv wheels", State.WRONG, f"{' and '.join(wheels)} overwrite one another", fix))
    if machine.jetson and not build["GStreamer"]:
        found = "not in this OpenCV; CSI cameras and decoding on the chip need it"
        checks.append(Check("gstreamer", State.NOTE, found, _with_gstreamer(machine, wheels)))
    return checks


_PARTS = {"GStreamer": "GStreamer", "FFmpeg": "FFMPEG", "V4L": "v4l/v4l2"}


def built_with(information: str, part: str) -> bool:
    """Whether ``cv2.getBuildInformation()`` says YES to a part.

    OpenCV's registry is no help: it lists GStreamer in builds without it.
    """
    return re.search(rf"^\s*{re.escape(part)}:\s+YES\b", information, re.MULTILINE) is not None


def _mend(machine: Machine, answer: Answer, origin: str, numpy: str) -> tuple[str, str | None]:
    """Words and command for an OpenCV that does not load."""
    text = answer.errors
    if any(sign in text for sign in _OTHER_ABI):
        found = f"built for another numpy than {numpy} ({answer.fault})"
        if origin in WHEELS and not (machine.jetson and machine.sees_system_packages):
            return found, machine.pip_install(f"-U {origin}")
        return found, machine.pip("install 'numpy<2'")
    tls = re.search(r"(\S+\.so[.\d]*): cannot allocate memory in static TLS block", text)
    if tls is not None:
        return answer.fault, f"export LD_PRELOAD={tls[1]}"
    for library, package in _SYSTEM_LIBRARIES.items():
        if library in text:
            return answer.fault, machine.apt_install(package)
    if origin in WHEELS:
        return answer.fault, machine.pip_install(f"--force-reinstall --no-deps {origin}")
    return answer.fault, machine.apt_install("--reinstall python3-opencv") if origin == "apt" else None


def _install(machine: Machine) -> str:
    by_apt = machine.apt_install("python3-opencv") if machine.jetson and machine.sees_system_packages else None
    return by_apt or machine.pip_install("opencv-python")


def _with_gstreamer(machine: Machine, wheels: tuple[str, ...]) -> str | None:
    if not machine.sees_system_packages:
        return machine.see_system_packages()
    install = machine.apt_install("python3-opencv")
    remove = machine.pip(f"uninstall -y {' '.join(wheels)}") if wheels else None
    return " && ".join(step for step in (remove, install) if step) or None
