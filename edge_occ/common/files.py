"""Writing files for users; see :mod:`engines.files`."""

from engines.files import atomic_write

__all__ = ["atomic_write"]
