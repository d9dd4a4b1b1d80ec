"""What this machine can do, what is missing, and the command that mends it.

Nothing here needs more than Python's own library to be imported, for it must work where numpy or OpenCV do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from edge_occ.doctor.broker import check_broker
from edge_occ.doctor.cameras import check_cameras
from edge_occ.doctor.disk import check_folders
from edge_occ.doctor.engine import check_onnxruntime, choose_engine, read_onnxruntime
from edge_occ.doctor.gpu import Gpu, check_gpu, read_gpu
from edge_occ.doctor.machine import Machine, read_machine
from edge_occ.doctor.probing import PATIENCE, Answer, Pending
from edge_occ.doctor.python import check_packages, check_python, read_packages
from edge_occ.doctor.report import Check, Report, State
from edge_occ.doctor.system import check_system
from edge_occ.doctor.vision import check_numpy, check_opencv, read_vision

if TYPE_CHECKING:
    from edge_occ.mqtt.config import MqttConfig

_LONGEST = 2 * PATIENCE


def diagnose(mqtt: MqttConfig | None = None) -> Report:
    """Look at everything at once, for some seconds at most; never raises.

    Args:
        mqtt: the broker to try; ``None`` takes the default.
    """
    machine = read_machine()
    # Begun together, taken in the order of reading.
    python = _topic("python", lambda: [check_python(machine), check_packages(machine, *read_packages())])
    vision = _topic("opencv", partial(_vision, machine))
    system = _topic("machine", partial(check_system, machine))
    gpu_parts = Pending(read_gpu, lambda words: Gpu(Answer(fault=words)))
    onnxruntime_answer = Pending(read_onnxruntime, lambda words: Answer(fault=words))
    cameras = _topic("cameras", partial(check_cameras, machine))
    broker = _topic("broker", lambda: [check_broker(machine, mqtt)])
    folders = _topic("folders", partial(check_folders, machine))
    deadline = time.monotonic() + _LONGEST
    gpu = gpu_parts.take(deadline)
    onnxruntime = check_onnxruntime(machine, onnxruntime_answer.take(deadline))
    checks = [*system.take(deadline), *python.take(deadline), *vision.take(deadline)]
    checks += [onnxruntime, *check_gpu(machine, gpu)]
    checks += [*cameras.take(deadline), *broker.take(deadline), *folders.take(deadline)]
    return Report(tuple(checks), choose_engine(gpu, onnxruntime))


def _vision(machine: Machine) -> list[Check]:
    answer, wheels = read_vision()
    return [check_numpy(machine, answer), *check_opencv(machine, answer, wheels)]


def _topic(name: str, work: Callable[[], list[Check]]) -> Pending[list[Check]]:
    return Pending(work, lambda words: [Check(name, State.NOTE, f"could not be looked at: {words}")])
