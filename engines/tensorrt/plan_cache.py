"""Built engines on disk: a plan, and a JSON description beside it that says what it is and where it is good.

A plan is code, so it is handed out only from a folder that nobody else may write to, and only if its hash is the one
in its description.  Whoever adds, removes or moves files holds the folder's lock; readers need none, as files appear
whole and a description appears after its plan.
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
from engines.tensorrt.plan import Machine, Plan, PlanRejected, Request, describe, digest, trust

_DESCRIPTION_LIMIT, _PLAN_LIMIT, _TIMING_LIMIT = 64 << 10, 2 << 30, 64 << 20
"""Bytes that are read at most; plans are some ten megabytes."""

_ROOM = 256 << 20
"""Bytes that must be free before a build begins; a plan, its description and the timing cache are far below."""

_KEEP, _KEEP_QUARANTINED = 16, 4
"""Plans kept at most; the least recently used go first."""

_ROOT = 0
"""Who may write everywhere anyway."""

_SUFFIXES = ("plan", "json", "layers")
_OWN = re.compile(r"[a-z0-9]+-[0-9a-f]{16}\.(plan|json|layers)")
_LEFTOVER = re.compile(rf"\.({_OWN.pattern}|timing-[0-9a-f]{{16}}\.cache)\.\w+\.part")
_QUARANTINED = re.compile(r"[a-z0-9]+-[0-9a-f]{16}-\d+\.(plan|json|layers)")
"""Names of this cache's files: the folder is the user's choice, and only these are ever removed."""

_ADVICE = "set engine.cache in --config to a folder of your own, or run with --engine cpu"


class PlanCache:
    """The plans in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def look(self, request: Request, machine: Machine) -> Plan | None:
        """The plan of this request for this machine; ``None`` if there is none.

        Raises:
            PlanRejected: there is one, but stale, foreign or damaged.
            EngineUnavailable: others may write to the folder.
        """
        plan, description = self._path(request, "plan"), self._path(request, "json")
        if not os.access(plan, os.F_OK) and not os.access(description, os.F_OK):
            return None
        self._require_private()
        try:
            files = _read(description, _DESCRIPTION_LIMIT), _read(plan, _PLAN_LIMIT)
        except OSError as error:
            raise PlanRejected(f"it cannot be read whole: {error.strerror}") from error
        trusted = trust(*files, machine)
        with suppress(OSError):  # a cache that may only be read is fine
            os.utime(plan)
        return trusted

    def require_writable(self) -> None:
        """Make the folder if need be, and try to write to it: before a build of minutes, not after.

        Raises:
            EngineUnavailable: it cannot be written, is nearly full, or others may write to it.
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
        """Keep other processes from building meanwhile: they would disturb the timings and need as much memory.

        Args:
            waiting: called if another process holds the lock, before waiting for it.
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

    def store(self, request: Request, machine: Machine, plan: Plan) -> None:
        """Write a plan and its description; under the lock.

        The description comes last: if the process is killed in between, the plan has none, or an older one with
        another hash, and is not trusted.

        Raises:
            OSError: disk full.
        """
        for leftover in self.folder.glob(".*.part"):
            if _LEFTOVER.fullmatch(leftover.name):
                leftover.unlink(missing_ok=True)
        self._write(self._path(request, "plan"), plan.data)
        self._write(self._path(request, "json"), describe(request, machine, plan))
        plans = [path for path in self.folder.glob("*.plan") if _OWN.fullmatch(path.name)]
        for old in _newest_first(plans)[_KEEP:]:
            for path in _files_of(old.stem, self.folder):
                path.unlink(missing_ok=True)

    def keep_layers(self, request: Request, layers: str) -> None:
        """Keep the inspector's JSON of what TensorRT made of the graph beside the plan."""
        self._write(self._path(request, "layers"), layers.encode())

    def quarantine(self, request: Request) -> Path:
        """Move a rejected plan out of the way, for whoever wants to know; under the lock.

        Returns:
            The folder it was moved to, in which only the last few remain.
        """
        folder = self.folder / "quarantine"
        folder.mkdir(mode=0o700, exist_ok=True)
        moved = f"{request.name}-{time.time_ns()}"
        for path in _files_of(request.name, self.folder):
            path.replace(folder / f"{moved}{path.suffix}")
        stems = sorted(
            {path.stem for path in folder.iterdir() if _QUARANTINED.fullmatch(path.name)},
            key=lambda stem: stem.rsplit("-", 1)[-1],
        )
        for stem in stems[:-_KEEP_QUARANTINED]:
            for path in _files_of(stem, folder):
                path.unlink(missing_ok=True)
        return folder

    def timings(self, machine: Machine) -> bytes:
        """TensorRT's timing cache for this GPU and version, which makes the next build much shorter; maybe empty."""
        try:
            return _read(self._timing_path(machine), _TIMING_LIMIT)
        except OSError:
            return b""

    def keep_timings(self, machine: Machine, data: bytes) -> None:
        """Keep the timing cache; under the lock."""
        self._write(self._timing_path(machine), data)

    def _path(self, request: Request, suffix: str) -> Path:
        return self.folder / f"{request.name}.{suffix}"

    def _timing_path(self, machine: Machine) -> Path:
        device = {"tensorrt": machine.tensorrt, "gpu": machine.gpu, "capability": machine.capability}
        return self.folder / f"timing-{digest({**device, 'multiprocessors': machine.multiprocessors})}.cache"

    def _require_private(self) -> None:
        status = self.folder.stat()
        if status.st_mode & 0o002 or status.st_uid not in {os.geteuid(), _ROOT}:
            raise EngineUnavailable(
                "a folder for built engines that only you may write to, as they are code",
                f"{self.folder}, to which others may write",
                f"type chmod o-w {self.folder}, or {_ADVICE}",
            )

    def _write(self, path: Path, data: bytes) -> None:
        with NamedTemporaryFile(dir=self.folder, prefix=f".{path.name}.", suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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
