"""Atomic writing for the device half and the trainer; see :mod:`engines.files`."""

from engines.files import atomic_write, sync_folder

__all__ = ["atomic_write", "sync_folder"]
