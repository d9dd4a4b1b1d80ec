"""Recalibration of the running bundle, asked for by a command: frames are collected while the inspection goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.recalibration import require_frames
from edge_occ.common.errors import InputError, UserError
from edge_occ.inspection.result import Inspection
from edge_occ.output.sink import Sink
from edge_occ.runtime.config import RunConfig
from edge_occ.sources.faults import Fault

_POLL_SECONDS = 0.2
_END_SECONDS = 3.0
_WORDS = 600
"""Characters of each of the command's last lines that are repeated in an answer."""

_LABELS = ("expected", "found", "next")


@dataclass(frozen=True)
class RecalibrationPlan:
    """Size and kind of a recalibration.

    Attributes:
        frames: number of frames to collect.
        threshold_only: keep the heads.
    """

    frames: int
    threshold_only: bool


class FrameSampler:
    """A sink that hands over the next inspected frame whenever the last one has been taken; others pass by."""

    name = "recalibration"

    def __init__(self) -> None:
        self._next: Queue[NDArray[np.uint8]] = Queue(1)

    def publish(self, inspection: Inspection) -> None:
        """Offer an inspected frame."""
        try:
            self._next.put_nowait(inspection.frame.image)
        except Full:
            return

    def fault(self, fault: Fault) -> None:
        """Do nothing: a frame that was not inspected shows no part."""

    def finish(self, inspection: Inspection) -> None:
        """Do nothing: there is no new frame."""

    def take(self, timeout: float) -> NDArray[np.uint8] | None:
        """Return a frame, ``None`` where none came in time."""
        try:
            return self._next.get(timeout=timeout)
        except Empty:
            return None


class Recalibrator:
    """Collects frames of a running camera and recalibrates the bundle with them, one time at a time.

    Frames are written to a folder next to the bundle by a thread, as fast as the disk takes them.  The computation is
    a process of ``edge-occ recalibrate``: what it does to memory and processors ends with it, and the engine in use is
    not touched.  A reload then exchanges the bundle between two frames.

    Args:
        bundle: file of the bundle.
        config: returns the settings of the run, of which guards and engine are used.
        rate: that the bundle declares.
        engine: name and precision of the engine in use.
        reload: asks for a reload; its result is a line for people.
    """

    def __init__(
        self,
        bundle: Path,
        config: Callable[[], RunConfig],
        rate: float,
        engine: tuple[str, str],
        reload: Callable[[], Future[str]],
    ) -> None:
        self._bundle, self._config, self._reload = bundle.resolve(), config, reload
        self._rate, self._engine = rate, engine
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(
        self, plan: RecalibrationPlan, add: Callable[[Sink], None], remove: Callable[[Sink], None]
    ) -> Future[str]:
        """Begin.

        Args:
            plan: what to take.
            add: adds a sink of the camera's frames; called in the caller's thread.
            remove: removes it; called in another one.

        Returns:
            A line about the new bundle, or the error for which the old one stays; cancelled by :meth:`give_up`.

        Raises:
            InputError: too few frames, or one is under way.
        """
        require_frames(plan.frames, self._rate, fits=not plan.threshold_only)
        if self._thread is not None and self._thread.is_alive():
            raise InputError(
                "one recalibration at a time", "another one under way", "wait, or give it up with frames 0"
            )
        done: Future[str] = Future()
        sampler = FrameSampler()
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._run, args=(plan, sampler, remove, done), name="edge-occ recalibration", daemon=True
        )
        add(sampler)
        self._thread.start()
        return done

    def give_up(self) -> bool:
        """End the one under way, with nothing changed; return whether there was one."""
        running = self._thread is not None and self._thread.is_alive()
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        return running

    def _run(
        self, plan: RecalibrationPlan, sampler: FrameSampler, remove: Callable[[Sink], None], done: Future[str]
    ) -> None:
        try:
            line = self._work(plan, sampler, remove)
        except CancelledError:
            done.cancel()
        except Exception as error:  # noqa: BLE001 - belongs to who asked
            done.set_exception(error)
        else:
            done.set_result(line)

    def _work(self, plan: RecalibrationPlan, sampler: FrameSampler, remove: Callable[[Sink], None]) -> str:
        try:
            # A folder of our own, whatever is there: what is removed at the end is what was made here.
            with TemporaryDirectory(prefix=f".{self._bundle.stem}.frames-", dir=self._bundle.parent) as made:
                folder = Path(made)
                try:
                    self._collect(plan.frames, sampler, folder)
                finally:
                    remove(sampler)
                changed = self._recalibrate(plan, folder)
        except OSError as error:
            found = f"{self._bundle.parent}: {error.strerror}"
            raise InputError("a folder of the bundle that takes the frames", found, "free disk space") from error
        try:
            return f"{changed}; {self._reload().result()}"
        except UserError as error:
            found = f"it is in its place, but was not loaded: {error}"
            raise InputError("the new bundle in use", found, "send rollback for the one before") from error

    def _collect(self, frames: int, sampler: FrameSampler, folder: Path) -> None:
        taken = 0
        while taken < frames:
            if self._stop.is_set():
                raise CancelledError
            image = sampler.take(_POLL_SECONDS)
            if image is not None:
                _, encoded = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
                (folder / f"{taken:06}.png").write_bytes(encoded.tobytes())
                taken += 1

    def _recalibrate(self, plan: RecalibrationPlan, folder: Path) -> str:
        """Run ``edge-occ recalibrate`` on the collected frames; return what it changed, in words."""
        settings = folder / "settings.yaml"
        parts = self._config().model_dump(mode="json", include={"guards", "engine"})
        settings.write_text(json.dumps(parts), encoding="utf-8")  # JSON is YAML, too
        name, precision = self._engine
        command = [sys.executable, "-m", "edge_occ", "recalibrate", str(self._bundle), "--data", str(folder)]
        command += ["--config", str(settings), "--engine", name, "--precision", precision]
        command += ["--threshold-only"] if plan.threshold_only else []
        if nice := shutil.which("nice"):
            command = [nice, "-n", "10", *command]
        words = folder / "words.txt"
        with words.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            while process.poll() is None:
                if self._stop.wait(_POLL_SECONDS):
                    _end(process)
                    raise CancelledError
        said = words.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if process.returncode != 0:
            raise _error(said[-3:])
        return next((line for line in said if line.startswith("threshold ")), "recalibrated")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _error(said: Sequence[str]) -> InputError:
    """Return the error that a command ended with, from its last three lines; other words as they are."""
    words = [" ".join(line.split())[:_WORDS] for line in said]
    parts = [line.removeprefix(f"{label} ") for label, line in zip(_LABELS, words, strict=False)]
    if len(words) == len(_LABELS) and all(part != line for part, line in zip(parts, words, strict=True)):
        return InputError(*parts)
    return InputError("a recalibration that comes to its end", " ".join(words)[-_WORDS:] or "no words", "see the log")
