"""Built engines on disk: each plan with a JSON description of its key, its platform and its hash.

A plan is code, so it is loaded only from a folder that no other user can write to, and only if its hash is the one in
its description.  Adding, removing and moving files needs the folder's lock; reading needs none, because files are
renamed into place and a description follows its plan.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from engines.errors import EngineUnavailable
from engines.files import atomic_write
from engines.tensorrt.plan import Plan, PlanKey, PlanRejected, Platform, describe, digest, verify_plan

_DESCRIPTION_LIMIT, _PLAN_LIMIT, _TIMING_LIMIT = 64 << 10, 2 << 30, 64 << 20
"""Largest files in bytes that are read; plans have tens of megabytes."""

_ROOM = 256 << 20
"""Free bytes that a build needs; a plan, its description and the timing cache are far smaller."""

_KEEP, _KEEP_QUARANTINED = 16, 4
"""Largest number of plans; the least recently used are removed first."""

_ROOT = 0
"""User id of root, who can write everywhere."""

_SUFFIXES = ("plan", "json", "layers")
_OWN = re.compile(r"[a-z0-9]+-[0-9a-f]{16}\.(plan|json|layers)")
_LEFTOVER = re.compile(rf"\.({_OWN.pattern}|timing-[0-9a-f]{{16}}\.cache)\.\w+\.part")
_QUARANTINED = re.compile(r"[a-z0-9]+-[0-9a-f]{16}-\d+\.(plan|json|layers)")
"""Names of this cache's files.  The user chooses the folder, and no other file in it is removed."""

_ADVICE = "set engine.cache in --config to a folder of your own, or run with --engine cpu"


class PlanCache:
    """The plans in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def look(self, key: PlanKey, platform: Platform) -> Plan | None:
        """Return the plan of this key for this platform; ``None`` if there is none.

        Raises:
            PlanRejected: there is one, but stale, foreign or damaged.
            EngineUnavailable: other users can write to the folder.
        """
        data, description = self._path(key, "plan"), self._path(key, "json")
        if not os.access(data, os.F_OK) and not os.access(description, os.F_OK):
            return None
        self._require_private()
        try:
            files = _read(description, _DESCRIPTION_LIMIT), _read(data, _PLAN_LIMIT)
        except OSError as error:
            raise PlanRejected(f"it cannot be read whole: {error.strerror}") from error
        plan = verify_plan(*files, platform)
        with suppress(OSError):  # a read-only cache is fine
            os.utime(data)
        return plan

    def require_writable(self) -> None:
        """Make the folder if needed and write to it, so that a build of minutes does not fail at its end.

        Raises:
            EngineUnavailable: it cannot be written, is nearly full, or other users can write to it.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._require_private()
            with NamedTemporaryFile(dir=self.folder, prefix=".", suffix=".probe") as probe:
                probe.write(b"x")
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise EngineUnavailable(
                "a folder for built engines that can be written", f"{self.folder}: {error.strerror}", _ADVICE
            ) from error
        if free < _ROOM:
            raise EngineUnavailable(
                f"{_ROOM >> 20} MiB free for built engines", f"{free >> 20} MiB in {self.folder}", _ADVICE
            )

    @contextmanager
    def lock(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the folder's lock: a second build would disturb the timings and need as much memory.

        Args:
            waiting: called before waiting, if another process holds the lock.
        """
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def store(self, key: PlanKey, platform: Platform, plan: Plan) -> None:
        """Write a plan and its description; under the lock.

        The description comes last: if the process is killed in between, the plan has none, or an older one with
        another hash, and is rejected.

        Raises:
            OSError: disk full.
        """
        for leftover in self.folder.glob(".*.part"):
            if _LEFTOVER.fullmatch(leftover.name):
                leftover.unlink(missing_ok=True)
        _write(self._path(key, "plan"), plan.data)
        _write(self._path(key, "json"), describe(key, platform, plan))
        plans = [path for path in self.folder.glob("*.plan") if _OWN.fullmatch(path.name)]
        for old in _newest_first(plans)[_KEEP:]:
            for path in _files_of(old.stem, self.folder):
                path.unlink(missing_ok=True)

    def keep_layers(self, key: PlanKey, layers: str) -> None:
        """Store the inspector's JSON, which describes the layers of the plan."""
        _write(self._path(key, "layers"), layers.encode())

    def quarantine(self, key: PlanKey) -> Path:
        """Move a rejected plan to a folder of its own, for inspection; under the lock.

        Returns:
            That folder, which keeps the latest few.
        """
        folder = self.folder / "quarantine"
        folder.mkdir(mode=0o700, exist_ok=True)
        moved = f"{key.name}-{time.time_ns()}"
        for path in _files_of(key.name, self.folder):
            path.replace(folder / f"{moved}{path.suffix}")
        stems = sorted(
            {path.stem for path in folder.iterdir() if _QUARANTINED.fullmatch(path.name)},
            key=lambda stem: stem.rsplit("-", 1)[-1],
        )
        for stem in stems[:-_KEEP_QUARANTINED]:
            for path in _files_of(stem, folder):
                path.unlink(missing_ok=True)
        return folder

    def timings(self, platform: Platform) -> bytes:
        """Return TensorRT's timing cache for this GPU and version, which shortens the next build; empty without one."""
        try:
            return _read(self._timing_path(platform), _TIMING_LIMIT)
        except OSError:
            return b""

    def keep_timings(self, platform: Platform, data: bytes) -> None:
        """Store the timing cache; under the lock."""
        _write(self._timing_path(platform), data)

    def _path(self, key: PlanKey, suffix: str) -> Path:
        return self.folder / f"{key.name}.{suffix}"

    def _timing_path(self, platform: Platform) -> Path:
        device = {"tensorrt": platform.tensorrt, "gpu": platform.gpu, "capability": platform.capability}
        return self.folder / f"timing-{digest({**device, 'multiprocessors': platform.multiprocessors})}.cache"

    def _require_private(self) -> None:
        status = self.folder.stat()
        if status.st_mode & 0o002 or status.st_uid not in {os.geteuid(), _ROOT}:
            raise EngineUnavailable(
                "a folder for built engines that only you may write to, as they are code",
                f"{self.folder}, to which others may write",
                f"type chmod o-w {self.folder}, or {_ADVICE}",
            )


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path, mode=0o600) as file:
        file.write(data)


def _files_of(stem: str, folder: Path) -> list[Path]:
    return [path for suffix in _SUFFIXES if (path := folder / f"{stem}.{suffix}").is_file()]


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, "too large")
    return data


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)
