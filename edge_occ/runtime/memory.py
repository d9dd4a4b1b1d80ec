"""Memory of a process that runs for weeks."""

from __future__ import annotations

import ctypes
import logging

_M_ARENA_MAX = -8
"""Parameter of ``mallopt`` in glibc's malloc.h."""
_ARENAS = 2

_log = logging.getLogger(__name__)


def give_back_free_memory() -> None:
    """Give pages without content back to the system, where glibc is the C library; takes some milliseconds.

    To be called after much was freed, such as an engine: glibc itself gives back only what lies at the end of a heap.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # another C library
        _log.debug("free memory cannot be given back here")


def share_heaps() -> None:
    """Have all threads share two heaps, where glibc is the C library; to be called before threads start.

    By default it makes up to eight heaps a processor, and memory that was freed in one cannot be used in another.  With
    some twenty threads, and engines that are exchanged while frames are inspected, the process grew for hours: see
    docs/results/soak.md.
    """
    try:
        done = ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    except (AttributeError, OSError):  # another C library
        done = 0
    if not done:
        _log.debug("the number of heaps cannot be set here")
