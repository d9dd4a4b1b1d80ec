"""edge-occ: a streaming visual inspector for production lines.  This package runs on the device; it never imports
torch.
"""

__version__ = "0.1.0"
