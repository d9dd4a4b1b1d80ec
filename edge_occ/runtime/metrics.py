"""The outputs of a run's figures besides MQTT: an endpoint for Prometheus, and lines for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

from edge_occ.runtime.camera import Camera
from edge_occ.runtime.config import MetricsConfig


@contextmanager
def metrics_outputs(config: MetricsConfig, cameras: Sequence[Camera], notify: Callable[[str], None]) -> Iterator[None]:
    """Give out the cameras' figures for as long as the block lasts.

    Args:
        config: which outputs there are; a port needs the extra ``[metrics]``.
        cameras: all cameras.
        notify: called with the address of the endpoint; each camera's own takes its lines.

    Raises:
        InputError: see :func:`edge_occ.runtime.prometheus.prometheus_endpoint`.
    """
    with ExitStack() as stack:
        if config.port is not None:
            from edge_occ.runtime.prometheus import prometheus_endpoint  # noqa: PLC0415 - needs the extra

            snapshots = {camera.origin: camera.snapshot for camera in cameras}
            port = stack.enter_context(prometheus_endpoint(config.host, config.port, snapshots))
            notify(f"metrics at http://{config.host}:{port}/metrics")
        if config.log_seconds is not None:
            stack.enter_context(_every(config.log_seconds, lambda: _log(cameras)))
        yield


def _log(cameras: Sequence[Camera]) -> None:
    for camera in cameras:
        camera.notify(camera.snapshot().line())


@contextmanager
def _every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Call a function again and again in a thread of its own, for as long as the block lasts."""
    ended = Event()

    def run() -> None:
        while not ended.wait(seconds):
            act()

    thread = Thread(target=run, name="edge-occ metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
