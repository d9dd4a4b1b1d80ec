"""Reload of a running station: settings and bundle are read again, and exchanged between two frames."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.loading import LoadedEngine
from edge_occ.common.errors import UserError
from edge_occ.runtime.camera import Camera
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.control import Control
from edge_occ.runtime.model import Model, open_engine

_OF_ONE_THREAD = ("tensorrt",)
"""Engines that belong to the thread that opened them; the others are opened beside the running one."""

_AT_START = ("source", "roi", "trigger", "engine", "event", "evidence", "drift", "metrics", "mqtt")
"""Sections of the settings that take effect at the next start only."""


class Reloader:
    """Reads the settings and the bundle's file again on request, while the inspection goes on.

    The new bundle passes the checks and the parity gate before it is used; where it does not, or the settings are
    wrong, the earlier ones stay.  An engine on the CPU is opened beside the running one, so no frame waits for it; one
    of TensorRT is opened in the inspecting thread, and frames of that time are dropped or wait.

    Args:
        read: reads settings and bundle anew.
        config: the settings in use.
        model: of the bundle in use.
        loaded: its engine; closed by :meth:`close`.
        cameras: all cameras.
        control: of the thread that inspects.
        notify: called with lines for people.
    """

    def __init__(
        self,
        read: Callable[[], tuple[RunConfig, Model, Bundle]],
        config: RunConfig,
        model: Model,
        loaded: LoadedEngine,
        cameras: Sequence[Camera],
        control: Control,
        notify: Callable[[str], None],
    ) -> None:
        self._read, self._cameras, self._control, self._notify = read, cameras, control, notify
        self._config, self._model, self._loaded = config, model, loaded
        self._wanted = threading.Event()
        self._closed = False
        self._lock = threading.Lock()
        self._waiting: deque[Future[str]] = deque()
        self._thread = threading.Thread(target=self._serve, name="edge-occ reload", daemon=True)
        self._thread.start()

    def request(self) -> None:
        """Ask for a reload and return at once; requests during one are answered by one more."""
        self._wanted.set()

    def reload(self) -> Future[str]:
        """Ask for a reload, from any thread but not from the handler of a signal.

        Returns:
            A line for people about what is used from now on, or the error for which the earlier settings and bundle
            stay; cancelled where the run ends.
        """
        future: Future[str] = Future()
        with self._lock:
            if self._closed:
                future.cancel()
                return future
            self._waiting.append(future)
        self._wanted.set()
        return future

    def close(self) -> None:
        """End: a reload under way is finished or given up, and the engine is closed."""
        with self._lock:
            self._closed = True
        self._control.close()
        self._wanted.set()
        self._thread.join()
        for future in self._waiting:
            future.cancel()
        self._loaded.engine.close()

    def _serve(self) -> None:
        while True:
            self._wanted.wait()
            if self._closed:
                return
            self._wanted.clear()
            asked = len(self._waiting)
            try:
                summary = self._reload()
            except UserError as error:
                self._notify(f"reload refused, the inspection goes on as before: {error}")
                for _ in range(asked):
                    self._waiting.popleft().set_exception(error)
            except CancelledError:
                return
            else:
                for _ in range(asked):
                    self._waiting.popleft().set_result(summary)

    def _reload(self) -> str:
        config, model, bundle = self._read()
        if model.manifest == self._model.manifest:
            self._control.submit(lambda: self._exchange(config, model, self._loaded)).result()
        elif self._loaded.engine.name in _OF_ONE_THREAD:
            self._control.submit(lambda: self._exchange(config, model, self._open(bundle, config))).result()
        else:
            loaded = self._open(bundle, config)
            try:
                self._control.submit(lambda: self._exchange(config, model, loaded)).result()
            except CancelledError:
                loaded.engine.close()
                raise
        summary = f"reloaded {model.name}: {self._loaded.summary}"
        self._notify(summary)
        self._notify(model.decision.guarantee())
        return summary

    def _open(self, bundle: Bundle, config: RunConfig) -> LoadedEngine:
        publishers = [camera.publisher for camera in self._cameras if camera.publisher is not None]
        return open_engine(bundle, config.engine, publishers, self._notify)

    def _exchange(self, config: RunConfig, model: Model, loaded: LoadedEngine) -> None:
        """Exchange everything at once, in the thread that inspects."""
        for camera in self._cameras:
            camera.use(config, model, loaded)
        earlier, self._loaded = self._loaded, loaded
        if earlier is not loaded:
            earlier.engine.close()
        unchanged = [name for name in _AT_START if getattr(config, name) != getattr(self._config, name)]
        if unchanged:
            self._notify(f"changed settings that take effect at the next start: {', '.join(unchanged)}")
        self._config, self._model = config, model
