"""edge-occ: a streaming visual inspector for production lines.  This package runs on the device; it never imports
torch.
"""

import engines  # noqa: F401 - switches off the telemetry of the runtimes, before any module here imports one

__version__ = "0.1.0"
