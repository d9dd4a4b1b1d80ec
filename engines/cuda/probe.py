"""A harmless probe for a CUDA driver and a GPU.

It must precede any use of TensorRT: without a driver TensorRT's runtime returns an object over a null pointer, and the
next call crashes the interpreter.  ``python -m engines.cuda.probe`` prints the result as JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

from engines.cuda.libcuda import CudaCallError, Libcuda
from engines.errors import EngineUnavailable

_NO_DEVICE, _STUB_LIBRARY = 100, 34
"""``CUDA_ERROR_NO_DEVICE`` and ``CUDA_ERROR_STUB_LIBRARY`` of cuda.h."""

_ADVICE = {
    _NO_DEVICE: "check that nvidia-smi lists a GPU (in a container: --runtime nvidia; on a Jetson: the group video)",
    _STUB_LIBRARY: "take the folder of stubs out of LD_LIBRARY_PATH",
}
_INSTALL = "install NVIDIA's driver (on a Jetson: JetPack; in a container: --runtime nvidia), or run with --engine cpu"
_REPAIR = "check that nvidia-smi works, reboot after an update of the driver, or run with --engine cpu"


@dataclass(frozen=True)
class DriverProbe:
    """Result of the probe.

    Attributes:
        devices: number of GPUs that can be used.
        version: CUDA version of the driver, 12060 for 12.6; 0 if unknown.
        reason: the fault, as text; empty without one.
        advice: its remedy; empty without a fault.
    """

    devices: int
    version: int
    reason: str = ""
    advice: str = ""

    @property
    def ok(self) -> bool:
        """True if a GPU can be used."""
        return self.devices > 0


def probe_driver() -> DriverProbe:
    """Load the driver, initialise it and count its GPUs; never raises."""
    try:
        library = Libcuda()
    except OSError as error:
        return DriverProbe(0, 0, f"no CUDA driver: {error}", _INSTALL)
    version = 0
    try:
        version = library.integer("cuDriverGetVersion")
        library.call("cuInit", 0)
        devices = library.integer("cuDeviceGetCount")
    except CudaCallError as error:
        return DriverProbe(0, version, f"the CUDA driver refuses: {error}", _ADVICE.get(error.code or 0, _REPAIR))
    if devices < 1:
        return DriverProbe(0, version, "the CUDA driver has no GPU", _ADVICE[_NO_DEVICE])
    return DriverProbe(devices, version)


def require_gpu() -> DriverProbe:
    """Run :func:`probe_driver` and refuse a machine without a GPU.

    Raises:
        EngineUnavailable: there is no driver, or no GPU.
    """
    found = probe_driver()
    if not found.ok:
        raise EngineUnavailable("an NVIDIA GPU and its driver", found.reason, found.advice)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(probe_driver())) + "\n")
