"""Number of processors that this process can use, from its affinity and the quota of its control groups."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from engines.errors import UserError

_ROOT = Path("/")


def thread_count(asked: int | None = None) -> int:
    """Return the number of threads that an engine starts.

    Args:
        asked: 1 to the number of the machine's processors; ``None`` takes those that this process can use.

    Raises:
        UserError: another number; more threads than processors only cost memory.
    """
    if asked is None:
        return usable_processors()
    most = os.cpu_count() or 1
    if not 1 <= asked <= most:
        raise UserError(
            f"1 to {most} threads, as this machine has {most} {'processor' if most == 1 else 'processors'}",
            str(asked),
            "leave engine.threads out, which takes the processors that this process may use",
        )
    return asked


def usable_processors(root: Path = _ROOT) -> int:
    """Return the number of processors that this process can keep busy, at least 1.

    These are the processors of its affinity, limited by the quota of its control groups, rounded up: a container
    started with ``--cpus 1.5`` sees all processors of the machine, but is stopped for the rest of every period once its
    threads together have used one and a half.

    Args:
        root: the file system's root, which holds ``proc`` and ``sys``.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = cpu_quota(root)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return the processor time that the control groups grant, in processors; ``None`` without a limit."""
    return min((quota for folder in _groups(root) for quota in _quotas(folder)), default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups, each with those above it, which limit it too.

    A container often sees its own group as the root, while ``/proc/self/cgroup`` has the host's path, so that a folder
    may not exist.
    """
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # version 2; together with version 1 it has a separate folder
            tops = (mount, mount / "unified")
        elif "cpu" in controllers.split(","):
            tops = (mount / controllers, mount / "cpu")
        else:
            continue
        below = Path(path.strip("/"))
        for top in tops:
            yield from (top / folder for folder in (below, *below.parents))


def _quotas(folder: Path) -> Iterator[float]:
    """Yield the limit of one control group, of version 2 or 1, if it has one."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    # Without a limit the quota is "max" in version 2, and -1 in version 1.
    if quota.isdecimal() and period.isdecimal() and int(period) > 0:
        yield int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
