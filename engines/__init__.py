"""Runtimes that turn a bundle's graph into scores on this machine; numpy and one runtime a file.

Some of these runtimes report their use to their makers.  That is switched off here, before any of them is imported:
nothing leaves the machine but what the user asked for.
"""

import os
import sys

# ONNX Runtime 1.32 would look up Microsoft's event server, and write a device id below ~/.cache.  It reads this once,
# when its library is loaded; child processes inherit it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# OpenVINO would report every import to Google Analytics, and write to the home folder.  It asks for neither consent
# nor the package, which it does without where it cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
