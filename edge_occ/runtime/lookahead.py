"""Frames of one source on their way to its inspector; those of a file are scored several at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from edge_occ.common.errors import UserError
from edge_occ.runtime.inspector import Inspector, Scored
from edge_occ.sources.faults import Fault
from edge_occ.sources.frame import Frame, Source


class Lookahead:
    """Passes the frames of a source to its inspector, one after another, in the thread that inspects.

    A live source has only its latest frame.  One that drops nothing has the next frames already: while one is decided
    upon, they are scored in threads of this object, as many as the engine allows.

    Args:
        source: entered already when :meth:`advance` is called.
        inspector: takes the frames.
    """

    def __init__(self, source: Source, inspector: Inspector) -> None:
        self._source, self._inspector = source, inspector
        self._threads: ThreadPoolExecutor | None = None
        self._begun: deque[Future[Scored | Fault]] = deque()
        self._failure: UserError | None = None

    @property
    def busy(self) -> bool:
        """True while frames are being scored, or wait with their scores: engine and threshold must stay as they are."""
        return bool(self._begun)

    @property
    def ended(self) -> bool:
        """True once there will be no frame any more."""
        return not self._begun and self._failure is None and self._source.ended

    def advance(self, inspecting: Callable[[], AbstractContextManager[None]] = nullcontext, *, begin: bool) -> bool:
        """Inspect the next frame of the source if there is one now.

        Args:
            inspecting: returns a context for the inspection.
            begin: begin to score the frames after it; false ends :attr:`busy` after some calls.

        Returns:
            Whether there was one.

        Raises:
            RuntimeError, UserError: as :meth:`~edge_occ.sources.frame.Source.poll`, after the last frame, and
                :meth:`~edge_occ.runtime.inspector.Inspector.take`.
        """
        parallel = 1 if self._source.live else self._inspector.parallel
        if parallel > 1:
            while begin and len(self._begun) < parallel and (item := self._next()) is not None:
                self._begin(item, parallel)
        if self._begun:
            with inspecting():
                self._inspector.take(self._begun.popleft().result())
            return True
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if parallel > 1 or (item := self._source.poll()) is None:
            return False
        with inspecting():
            self._inspector.take(item)
        return True

    def close(self) -> None:
        """Give up the frames that are not scored yet, and wait for the others."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _next(self) -> Frame | Fault | None:
        if self._failure is not None:
            return None
        try:
            return self._source.poll()
        except UserError as failure:
            self._failure = failure
            return None

    def _begin(self, item: Frame | Fault, parallel: int) -> None:
        if isinstance(item, Fault):
            fault: Future[Scored | Fault] = Future()
            fault.set_result(item)
            self._begun.append(fault)
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(parallel, "edge-occ score")
        self._begun.append(self._threads.submit(self._inspector.score, item))
