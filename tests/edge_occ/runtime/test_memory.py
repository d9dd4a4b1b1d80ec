"""Memory of a process that runs for weeks."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAPS = """
import ctypes, re, sys, threading
sys.path.insert(0, {root!r})
from edge_occ.runtime.memory import share_heaps
if {shared}: share_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
ready, done = threading.Barrier(17), threading.Event()
def work():
    libc.malloc(100); ready.wait(); done.wait()
threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads: thread.start()
ready.wait()
libc.fdopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
done.set()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_threads_share_two_heaps(pytestconfig):
    def heaps(*, shared: bool) -> int:
        script = HEAPS.format(root=str(pytestconfig.rootpath), shared=shared)
        return subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.count(
            b"<heap nr="
        )

    assert heaps(shared=True) <= 2
    assert heaps(shared=False) > 2


FREED = """
import ctypes, sys
sys.path.insert(0, {root!r})
from edge_occ.runtime.memory import give_back_free_memory
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
blocks = [libc.malloc(60_000) for _ in range(1000)]
for block in blocks: ctypes.memset(block, 1, 60_000)
for block in blocks[:-1]: libc.free(ctypes.c_void_p(block))  # the last one holds the end of the heap
if {given_back}: give_back_free_memory()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_free_memory_below_used_memory_is_given_back(pytestconfig):
    def kilobytes(*, given_back: bool) -> int:
        script = FREED.format(root=str(pytestconfig.rootpath), given_back=given_back)
        return int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout)

    assert kilobytes(given_back=False) - kilobytes(given_back=True) > 40_000
