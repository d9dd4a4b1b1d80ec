"""The loop of a station: frames of several cameras through one engine, in the thread that opened it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from edge_occ.common.errors import UserError
from edge_occ.runtime.control import Control
from edge_occ.runtime.inspector import Inspector
from edge_occ.runtime.lookahead import Lookahead
from edge_occ.sources.frame import Source

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Lane:
    """One camera on its way through the station.

    Attributes:
        camera: name of the camera; empty where there is only one.
        source: its frames; entered already when they are inspected.
        inspector: its guards, verdicts, events and outputs.
        ahead: its frames as they are inspected.
    """

    camera: str
    source: Source
    inspector: Inspector
    ahead: Lookahead = field(init=False)

    def __post_init__(self) -> None:
        self.ahead = Lookahead(self.source, self.inspector)

    def end(self) -> None:
        """End its open event: there are no more frames, or none will be inspected."""
        self.ahead.close()
        self.inspector.finish()


class Scheduler:
    """Serves the cameras in turn, one frame each, so that a fast one does not keep a slow one waiting.

    Live sources are asked for a frame only when it is their turn, and then give their latest.  Frames of files are
    scored several at a time where the engine can, see :class:`~edge_occ.runtime.lookahead.Lookahead`.

    Args:
        lanes: at least one.
        control: its requests are carried out between two frames, in the thread of :meth:`run`.
        inspecting: returns a context for the inspection of one frame.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        control: Control | None = None,
        inspecting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._lanes = list(lanes)
        self._wake = threading.Event()
        self._control, self._inspecting = control or Control(), inspecting
        self._control.notify(self._wake.set)
        for lane in self._lanes:
            lane.source.notify(self._wake.set)

    def run(self, max_frames: int | None = None) -> None:
        """Inspect until all sources have ended or are closed, or ``max_frames`` are scored in all.

        A camera's open event ends with its frames, after an error too.  A source that is lost ends the run only if it
        is the last: the others go on, and its error is raised at the end.

        Args:
            max_frames: at least 1, or ``None`` for no limit.

        Raises:
            SourceLost, InputError: a source is lost for good, or gave no frames.
            EngineUnavailable: the engine scored no frame of a camera at all, or none of many in a row.
        """
        try:
            error = self._inspect_all(max_frames)
        finally:
            for lane in self._lanes:
                lane.end()
        if error is not None:
            raise error
        for lane in self._lanes:
            lane.inspector.require_scores()

    def _inspect_all(self, max_frames: int | None) -> UserError | None:
        running = list(self._lanes)
        error: UserError | None = None
        while running:
            self._wake.clear()
            if not any(lane.ahead.busy for lane in running):
                self._control.run_pending()
            idle = True
            for lane in list(running):
                try:
                    if lane.ahead.advance(self._inspecting, begin=not self._control.waiting):
                        idle = False
                    elif lane.ahead.ended:
                        _end(lane, running)
                except UserError as failure:
                    _end(lane, running)
                    error = error or failure
                    if running:
                        logger.error("camera %s is lost, the others go on: %s", lane.camera, failure)  # noqa: TRY400
                if max_frames is not None and sum(each.inspector.frames for each in self._lanes) >= max_frames:
                    return error
            if idle and running:
                self._wake.wait()
        return error


def _end(lane: Lane, running: list[Lane]) -> None:
    """End a camera's inspection while others go on: its event must not stay open for as long as they do."""
    running.remove(lane)
    lane.end()
