"""Checks of Python and the packages that edge-occ needs, with numpy and OpenCV."""

from __future__ import annotations

import re
from importlib import metadata

from edge_occ import __version__
from edge_occ.doctor.machine import NEW_ENVIRONMENT, Machine
from edge_occ.doctor.probing import ProbeResult, run_python
from edge_occ.doctor.report import MISSING, NOTE, OK, WRONG, Check

_OLDEST_PYTHON, _OLDEST_NUMPY, _OLDEST_OPENCV = (3, 10), (1, 21), (4, 5)

_ELSEWHERE = frozenset({"numpy", "opencv-python", "onnxruntime"})
"""Requirements with checks of their own; apt installs some of them under other names."""

WHEELS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
"""Packages on PyPI that bring ``cv2``; they overwrite one another."""

_PROBE = """
import importlib.util
import numpy
report(numpy=numpy.__version__)
spec = importlib.util.find_spec("cv2")
report(path=spec and spec.origin)
if spec:
    import cv2
    report(cv2=cv2.__version__, build=cv2.getBuildInformation())
"""

_OTHER_ABI = ("numpy.core.multiarray failed to import", "_ARRAY_API not found", "compiled against ABI version")
_SYSTEM_LIBRARIES = {"libGL.so": "libgl1", "libgthread-2.0": "libglib2.0-0", "libglib-2.0": "libglib2.0-0"}
_PARTS = {"GStreamer": "GStreamer", "FFmpeg": "FFMPEG", "V4L": "v4l/v4l2"}


def check_python(machine: Machine) -> Check:
    """Check Python's version and environment, and whether it finds JetPack's packages."""
    kind = "no virtual environment"
    if machine.venv:
        kind = f"virtual environment, with{'' if machine.system_site else 'out'} system packages"
    found = f"{'.'.join(map(str, machine.python))}, {kind}"
    if machine.python < _OLDEST_PYTHON:
        return Check("python", WRONG, f"{found}; 3.10 or newer is needed", needed=True)
    if machine.jetson and not machine.sees_system_packages:
        why = "it does not see JetPack's tensorrt and OpenCV"
        return Check("python", WRONG, f"{found}; {why}", machine.see_system_packages())
    if machine.managed and not machine.venv:
        return Check("python", NOTE, f"{found}; pip installs nothing into it", NEW_ENVIRONMENT)
    return Check("python", OK, found)


def read_packages() -> tuple[list[str] | None, dict[str, str]]:
    """Return edge-occ's requirements without any extra, ``None`` if it is not installed, and installed versions."""
    try:
        declared = metadata.requires("edge-occ") or []
    except metadata.PackageNotFoundError:
        return None, {}
    requirements = [requirement for requirement in declared if ";" not in requirement]
    names = [re.split(r"[^\w.-]", requirement)[0] for requirement in requirements]
    return requirements, {name: version for name in names if (version := version_of(name)) is not None}


def check_packages(machine: Machine, requirements: list[str] | None, installed: dict[str, str]) -> Check:
    """Check the plain packages, of what :func:`read_packages` returns."""
    if requirements is None:
        found = f"{__version__} from its source, not installed; its requirements were not checked"
        return Check("edge-occ", NOTE, found)
    parsed = [match for line in requirements if (match := re.fullmatch(r"([\w.-]+)(?:>=([\w.]+))?", line))]
    wanted = {match[1]: match[2] or "0" for match in parsed if match[1] not in _ELSEWHERE}
    missing = [package for package in wanted if package not in installed]
    old = [name for name in wanted if name in installed and as_tuple(installed[name]) < as_tuple(wanted[name])]
    if not missing and not old:
        return Check("edge-occ", OK, f"{__version__}, with the {len(wanted)} plain packages that it needs")
    fix = machine.pip_install(" ".join(f"'{package}>={wanted[package]}'" for package in missing + old))
    faults = [f"no {package}" for package in missing]
    faults += [f"{package} {installed[package]}, older than {wanted[package]}" for package in old]
    return Check("edge-occ", MISSING if missing else WRONG, f"{__version__}: {', '.join(faults)}", fix, needed=True)


def read_vision() -> tuple[ProbeResult, tuple[str, ...]]:
    """Import numpy and OpenCV in a child, as a wrong ABI may crash it; and list OpenCV's installed wheels."""
    return run_python(_PROBE), tuple(wheel for wheel in WHEELS if version_of(wheel))


def check_numpy(machine: Machine, result: ProbeResult) -> Check:
    """Check version and ABI of numpy."""
    version = result.facts.get("numpy")
    if version is None:
        state = MISSING if "No module named 'numpy'" in result.errors else WRONG
        return Check("numpy", state, result.fault, machine.install("python3-numpy", "numpy"), needed=True)
    found = f"{version}, ABI {2 if as_tuple(version) >= (2,) else 1}"
    if as_tuple(version) < _OLDEST_NUMPY:
        fix = machine.pip_install("'numpy>=1.21'")
        return Check("numpy", WRONG, f"{found}; 1.21 or newer is needed", fix, needed=True)
    return Check("numpy", OK, found, needed=True)


def check_opencv(machine: Machine, result: ProbeResult, wheels: tuple[str, ...]) -> list[Check]:
    """Check whether OpenCV loads, its origin, and the parts that it was built with."""
    path, version = result.facts.get("path"), result.facts.get("cv2")
    install = machine.install("python3-opencv", "opencv-python")
    if "numpy" not in result.facts:
        return [Check("opencv", WRONG, "not tried, as it needs numpy", needed=True)]
    if path is None:
        found = "no module cv2" if "path" in result.facts else result.fault
        return [Check("opencv", MISSING, found, install, needed=True)]
    origin = "apt" if "dist-packages" in path and not wheels else (" and ".join(wheels) or "built here")
    if version is None:
        found, fix = _mend(machine, result, origin)
        return [Check("opencv", WRONG, f"from {origin}: {found}", fix, needed=True)]
    build = {key: built_with(result.facts["build"], name) for key, name in _PARTS.items()}
    found = f"{version} from {origin}; " + ", ".join(f"{key} {'yes' if has else 'no'}" for key, has in build.items())
    if as_tuple(version) < _OLDEST_OPENCV:
        return [Check("opencv", WRONG, f"{found}; 4.5 or newer is needed", install, needed=True)]
    checks = [Check("opencv", OK, found, needed=True)]
    remove = machine.pip(f"uninstall -y {' '.join(wheels)}")
    if len(wheels) > 1:
        fix = f"{remove} && {machine.pip_install(wheels[0])}"
        checks.append(Check("opencv wheels", WRONG, f"{' and '.join(wheels)} overwrite one another", fix))
    if machine.jetson and not build["GStreamer"]:
        steps = [remove if wheels else None, machine.apt_install("python3-opencv")]
        fix = " && ".join(filter(None, steps)) if machine.sees_system_packages else machine.see_system_packages()
        found = "not in this OpenCV; CSI cameras and decoding on the chip need it"
        checks.append(Check("gstreamer", NOTE, found, fix or None))
    return checks


def built_with(information: str, part: str) -> bool:
    """Return whether ``cv2.getBuildInformation()`` has YES for a part.

    OpenCV's registry does not answer that: it lists GStreamer in builds without it.
    """
    return re.search(rf"^\s*{re.escape(part)}:\s+YES\b", information, re.MULTILINE) is not None


def version_of(package: str) -> str | None:
    """Return the version of an installed package by its metadata; ``None`` if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def as_tuple(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, for comparing: ``10.3.0.26`` is ``(10, 3, 0, 26)``."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def _mend(machine: Machine, result: ProbeResult, origin: str) -> tuple[str, str | None]:
    """Return the reason why OpenCV does not load, and the command that mends it."""
    text = result.errors
    if any(sign in text for sign in _OTHER_ABI):
        found = f"built for another numpy than {result.facts['numpy']} ({result.fault})"
        if origin in WHEELS and not (machine.jetson and machine.sees_system_packages):
            return found, machine.pip_install(f"-U {origin}")
        return found, machine.pip("install 'numpy<2'")
    tls = re.search(r"(\S+\.so[.\d]*): cannot allocate memory in static TLS block", text)
    if tls is not None:
        return result.fault, f"export LD_PRELOAD={tls[1]}"
    for library, package in _SYSTEM_LIBRARIES.items():
        if library in text:
            return result.fault, machine.apt_install(package)
    if origin in WHEELS:
        return result.fault, machine.pip_install(f"--force-reinstall --no-deps {origin}")
    return result.fault, machine.apt_install("--reinstall python3-opencv") if origin == "apt" else None
