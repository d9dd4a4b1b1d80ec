"""The diagnosis of a machine: what it can do, what is missing, and the commands that mend it.

Importing this package loads only Python's own library, because it must work where numpy or OpenCV do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge_occ.doctor.broker import check_broker
from edge_occ.doctor.cameras import check_cameras
from edge_occ.doctor.engines import Gpu, check_gpu, check_onnxruntime, choose_engine, read_gpu, read_onnxruntime
from edge_occ.doctor.folders import check_folders
from edge_occ.doctor.machine import Machine, read_machine
from edge_occ.doctor.probing import PATIENCE, Pending, ProbeResult
from edge_occ.doctor.python import check_numpy, check_opencv, check_packages, check_python, read_packages, read_vision
from edge_occ.doctor.report import NOTE, Check, Diagnosis
from edge_occ.doctor.system import check_system

if TYPE_CHECKING:
    from edge_occ.mqtt.config import MqttConfig

_LONGEST = 2 * PATIENCE


def diagnose(mqtt: MqttConfig | None = None) -> Diagnosis:
    """Check everything at once, for some seconds at most; never raises.

    Args:
        mqtt: the broker to try; ``None`` is the default one.
    """
    machine = read_machine()
    # All are started together, and their results are taken in the order of the report.
    system = _topic("machine", lambda: check_system(machine))
    python = _topic("python", lambda: [check_python(machine), check_packages(machine, *read_packages())])
    vision = _topic("opencv", lambda: _check_vision(machine))
    onnxruntime_result = Pending(read_onnxruntime, lambda fault: ProbeResult(fault=fault))
    gpu_parts = Pending(read_gpu, lambda fault: Gpu(ProbeResult(fault=fault)))
    cameras = _topic("cameras", lambda: check_cameras(machine))
    broker = _topic("broker", lambda: [check_broker(machine, mqtt)])
    folders = _topic("folders", lambda: check_folders(machine))
    deadline = time.monotonic() + _LONGEST
    gpu = gpu_parts.take(deadline)
    onnxruntime = check_onnxruntime(machine, onnxruntime_result.take(deadline))
    checks = [check for topic in (system, python, vision) for check in topic.take(deadline)]
    checks += [onnxruntime, *check_gpu(machine, gpu)]
    checks += [check for topic in (cameras, broker, folders) for check in topic.take(deadline)]
    return Diagnosis(tuple(checks), choose_engine(gpu, onnxruntime))


def _check_vision(machine: Machine) -> list[Check]:
    result, wheels = read_vision()
    return [check_numpy(machine, result), *check_opencv(machine, result, wheels)]


def _topic(name: str, work: Callable[[], list[Check]]) -> Pending[list[Check]]:
    return Pending(work, lambda fault: [Check(name, NOTE, f"could not be checked: {fault}")])
