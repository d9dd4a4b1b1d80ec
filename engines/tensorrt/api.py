"""NVIDIA's ``tensorrt`` package: its import, its oldest version, and its log.

All names of it that this package uses exist unchanged from TensorRT 10.3 (JetPack 6.1) to 11.4.
"""

from __future__ import annotations

import logging
import re
import textwrap
from collections import deque
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from engines.cuda import jetson
from engines.errors import EngineUnavailable

OLDEST = (10, 3)
"""The version of JetPack 6.1 and 6.2; strongly typed networks and the named-tensor interface are complete in it."""

_JETPACK_6 = 36
"""Major release of Jetson Linux in JetPack 6."""

_LONGEST = 400
"""Characters of TensorRT's messages that an error quotes; they can fill pages."""

_log = logging.getLogger("engines.tensorrt.engine")


@dataclass(frozen=True)
class TensorRT:
    """The package, and one logger for all its objects, as TensorRT keeps only one.

    Attributes:
        trt: the module.
        logger: a ``trt.ILogger``.
        errors: its latest errors.
    """

    trt: ModuleType
    logger: Any
    errors: deque[str]

    @property
    def text(self) -> str:
        """The full version, for instance ``10.3.0``."""
        return str(self.trt.__version__)

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version."""
        return _version(self.text)

    def unavailable(self, expected: str, found: str | None = None) -> EngineUnavailable:
        """Return the error for a failure of TensorRT; without ``found`` it quotes TensorRT's latest errors."""
        found = textwrap.shorten(found or "; ".join(self.errors) or "no reason given", _LONGEST)
        self.errors.clear()
        advice = "run with --engine cpu, and report this line"
        if re.search("out ?of ?memory", found, re.IGNORECASE):
            advice = "close other programs or lower engine.max_frame in --config, or run with --engine cpu"
        return EngineUnavailable(expected, f"TensorRT {self.text}: {found}", advice)


def load_tensorrt() -> TensorRT:
    """Import TensorRT.  The CUDA driver must have been probed: without one TensorRT ends the interpreter.

    Raises:
        EngineUnavailable: it is absent, broken or too old.
    """
    try:
        import tensorrt as trt  # noqa: PLC0415
    except (ImportError, OSError) as error:
        # OSError: the package is installed, but not a library that it links.
        raise _unavailable(f"none in this Python ({error})") from error
    if _version(str(trt.__version__)) < OLDEST:
        raise _unavailable(f"TensorRT {trt.__version__}")
    return with_logger(trt)


@cache
def with_logger(trt: ModuleType) -> TensorRT:
    """Return the package with this process's one logger."""
    errors: deque[str] = deque(maxlen=4)
    severities = {
        trt.ILogger.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.ERROR: logging.ERROR,
        # TensorRT's warnings are advice for the author of a graph, not for its user.
        trt.ILogger.WARNING: logging.INFO,
        trt.ILogger.INFO: logging.DEBUG,
    }

    class Bridge(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401
            level = severities.get(severity)  # nothing for VERBOSE: thousands of lines a build
            if level is None:
                return
            if level == logging.ERROR:
                errors.append(message)
            _log.log(level, "%s", message)

    return TensorRT(trt, Bridge(), errors)


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _unavailable(found: str) -> EngineUnavailable:
    return EngineUnavailable("TensorRT 10.3 or newer", found, _how_to_install())


def _how_to_install() -> str:
    release = jetson.l4t_release()
    if release is None:
        return "install it with pip install 'edge-occ[tensorrt]', or run with --engine cpu"
    if int(release.split(".")[0]) < _JETPACK_6:
        return (
            f"Jetson Linux {release} is JetPack 5 or older, which cannot have it: install JetPack 6.2 or newer, "
            "or run with --engine cpu"
        )
    return (
        "install it with apt-get install python3-libnvinfer and make the environment with "
        "python3 -m venv --system-site-packages, or run with --engine cpu"
    )
