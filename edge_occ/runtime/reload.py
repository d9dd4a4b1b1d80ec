"""Reload of a running station: settings and bundle are read again, and exchanged between two frames."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from queue import SimpleQueue

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.loading import LoadedEngine
from edge_occ.common.errors import InputError, UserError
from edge_occ.inspection.view import View
from edge_occ.runtime.camera import Camera
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.control import Control
from edge_occ.runtime.heartbeat import Heartbeat
from edge_occ.runtime.memory import give_back_free_memory
from edge_occ.runtime.model import Model, open_engine
from edge_occ.sources.faults import one_line

_OF_ONE_THREAD = ("tensorrt",)
"""Engines that belong to the thread that opened them; the others are opened while the earlier one still runs."""

_AT_START = ("source", "trigger", "engine", "evidence", "metrics", "mqtt")
"""Sections of the settings that take effect at the next start only."""


class ReloadRequests:
    """Requests for a reload; the first ones may come before there is anything to reload.

    A signal handler may make them, also amid another one: nothing here takes a lock of Python's.
    """

    def __init__(self) -> None:
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._asked: deque[Future[str]] = deque()
        self._ended = False

    def put(self) -> None:
        """Ask for a reload and return at once; requests during one are answered by one more."""
        self._requests.put(True)

    def ask(self) -> Future[str]:
        """Ask for a reload, from any thread.

        Returns:
            A line for people about what is used from now on, or the error for which the earlier settings and bundle
            stay; cancelled where the run ends.
        """
        future: Future[str] = Future()
        self._asked.append(future)
        self.put()
        if self._ended:
            future.cancel()
        return future

    def end(self) -> None:
        """End the wait for requests."""
        self._ended = True
        self._requests.put(False)

    def taken(self) -> list[Future[str]]:
        """Return the answers that are waited for; each once."""
        return [self._asked.popleft() for _ in range(len(self._asked))]

    def wait(self) -> bool:
        """Wait for a request and take all that have come; return false at the end."""
        goes_on = self._requests.get()
        while goes_on and not self._requests.empty():
            goes_on = self._requests.get()
        return goes_on


class Reloader:
    """Reads the settings and the bundle's file again on request, while the inspection goes on.

    The new bundle passes the checks and the parity gate before it is used; where it does not, or anything else fails,
    the earlier settings and bundle stay.  An engine on the CPU is opened while the earlier one still runs, so no frame
    waits for it; one of TensorRT is opened in the inspecting thread, and frames of that time are dropped or wait.
    The engine type does not change: another one would be opened in a thread that is not its own.

    Args:
        requests: for reloads.
        read: reads settings and bundle anew.
        config: the settings in use.
        model: of the bundle in use.
        loaded: its engine; closed by :meth:`close`.
        cameras: all cameras.
        control: of the thread that inspects.
        heartbeat: signs of life while the inspecting thread opens an engine.
        notify: called with lines for people.
    """

    def __init__(  # noqa: PLR0913 - the parts that are exchanged, and those that exchange them
        self,
        requests: ReloadRequests,
        read: Callable[[], tuple[RunConfig, Model, Bundle]],
        config: RunConfig,
        model: Model,
        loaded: LoadedEngine,
        cameras: Sequence[Camera],
        control: Control,
        heartbeat: Heartbeat,
        notify: Callable[[str], None],
    ) -> None:
        self._requests, self._read, self._cameras = requests, read, cameras
        self._control, self._heartbeat, self._notify = control, heartbeat, notify
        self._config, self._model, self._loaded = config, model, loaded
        self._engine = config.engine
        if loaded.engine.name not in _OF_ONE_THREAD:
            self._engine = config.engine.model_copy(update={"name": loaded.engine.name})
        self._thread = threading.Thread(target=self._serve, name="edge-occ reload", daemon=True)
        self._thread.start()

    @property
    def config(self) -> RunConfig:
        """The settings in use, but for the sections that take effect at the next start."""
        return self._config

    def close(self) -> None:
        """End: a reload under way is finished or given up, and the engine is closed."""
        self._control.close()
        self._requests.end()
        self._thread.join()
        for future in self._requests.taken():
            future.cancel()
        self._loaded.engine.close()

    def _serve(self) -> None:
        while self._requests.wait():
            asked = self._requests.taken()
            try:
                summary = self._reload()
            except UserError as error:
                self._notify(f"reload refused, the inspection goes on as before: {error}")
                _answer(asked, error)
            except CancelledError:
                _answer(asked, None)
                return
            except Exception as error:  # noqa: BLE001 - the next reload may succeed
                self._notify(f"reload failed, the inspection goes on as before: {one_line(error)}")
                _answer(asked, error)
            else:
                _answer(asked, summary)
            give_back_free_memory()

    def _reload(self) -> str:
        config, model, bundle = self._read()
        self._require_same_white(model)
        # Masks are read here, as the thread that inspects must not wait for a disk.
        exchange = partial(self._exchange, config, [camera.view_of(config) for camera in self._cameras], model)
        if model.manifest == self._model.manifest:
            self._control.submit(lambda: exchange(self._loaded)).result()
        elif self._loaded.engine.name in _OF_ONE_THREAD:
            self._control.submit(lambda: self._open_and_exchange(exchange, bundle)).result()
        else:
            loaded = self._open(bundle)
            try:
                self._control.submit(lambda: exchange(loaded)).result()
            except BaseException:
                loaded.engine.close()
                raise
        summary = f"reloaded {model.name}: {self._loaded.summary}"
        self._notify(summary)
        self._notify(model.decision.guarantee())
        return summary

    def _require_same_white(self, model: Model) -> None:
        used, found = (each.manifest.training.white_level for each in (self._model, model))
        if used != found:
            expected = f"a bundle of pictures with the white level {used}, as the one in use"
            raise InputError(expected, f"{model.name} with {found}", "end the run and start it again")

    def _open(self, bundle: Bundle) -> LoadedEngine:
        return open_engine(bundle, self._engine, self._cameras, self._notify)

    def _open_and_exchange(self, exchange: Callable[[LoadedEngine], None], bundle: Bundle) -> None:
        with self._heartbeat.busy():
            loaded = self._open(bundle)
        try:
            exchange(loaded)
        except BaseException:
            loaded.engine.close()
            raise

    def _exchange(self, config: RunConfig, views: Sequence[View], model: Model, loaded: LoadedEngine) -> None:
        """Exchange everything at once or nothing, in the thread that inspects."""
        before = [camera.view for camera in self._cameras]
        try:
            for camera, view in zip(self._cameras, views, strict=True):
                camera.use(config, view, model, loaded)
        except BaseException:
            for camera, view in zip(self._cameras, before, strict=True):
                camera.use(self._config, view, self._model, self._loaded)
            raise
        earlier, self._loaded = self._loaded, loaded
        if earlier is not loaded:
            earlier.engine.close()
        unchanged = [name for name in _AT_START if getattr(config, name) != getattr(self._config, name)]
        if unchanged:
            self._notify(f"changed settings that take effect at the next start: {', '.join(unchanged)}")
        self._config, self._model = config, model


def _answer(asked: Sequence[Future[str]], outcome: str | Exception | None) -> None:
    """Resolve every pending request: with a line, an error, or a cancellation where the run ends."""
    for future in asked:
        if outcome is None:
            future.cancel()
        elif future.set_running_or_notify_cancel():
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
