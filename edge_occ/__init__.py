"""edge-occ: a streaming visual inspector for production lines.  This package runs on the device; it never imports
torch.
"""

import os

# The package switches off the telemetry of the runtimes, before any module here imports one.
from engines.limits import MAX_PIXELS

__version__ = "0.1.0"

# OpenCV reads this when it is loaded, from version 4.5 to 5.0, and holds to it in every format that it decodes.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
