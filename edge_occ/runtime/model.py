"""The parts of a bundle that a running inspection uses, and the engine that computes its scores."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.loading import LoadedEngine, load_engine
from edge_occ.bundle.manifest import Manifest
from edge_occ.bundle.operating_points import Decision, DecisionConfig, decide
from edge_occ.common.progress import PhaseReport
from edge_occ.inspection.guards import Guards, GuardsConfig
from edge_occ.mqtt.payloads import DeviceState
from edge_occ.runtime.config import EngineConfig
from edge_occ.sources.frame import Source


class Announcer(Protocol):
    """A publisher of the state of a device; a :class:`~edge_occ.mqtt.publisher.Publisher`."""

    def announce(self, state: DeviceState, detail: str | None = None) -> None:
        """Publish a state."""


class Served(Protocol):
    """A camera that an engine is opened for; a :class:`~edge_occ.runtime.camera.Camera`."""

    @property
    def source(self) -> Source:
        """Its frames."""

    @property
    def publisher(self) -> Announcer | None:
        """Publishes its state."""


@dataclass(frozen=True)
class Model:
    """The part of a bundle that an inspection needs while it runs.

    Attributes:
        name: name of the bundle's file.
        manifest: its description.
        decision: thresholds of the run.
    """

    name: str
    manifest: Manifest
    decision: Decision

    def guards(self, config: GuardsConfig) -> Guards:
        """Return what checks frames against those of the training."""
        training = self.manifest.training
        return Guards(config, training.exposure, training.colour, self.manifest.geometry.frame)


def read_model(path: Path, sha256: str | None, config: DecisionConfig) -> tuple[Model, Bundle]:
    """Read and check a bundle.

    Raises:
        InputError, BundleRefused: see :func:`edge_occ.bundle.bundle.read_bundle` and
            :func:`edge_occ.bundle.operating_points.decide`.
    """
    bundle = read_bundle(path, sha256)
    return Model(path.name, bundle.manifest, decide(bundle, config)), bundle


def open_engine(
    bundle: Bundle, engine: EngineConfig, cameras: Sequence[Served], notify: Callable[[str], None]
) -> LoadedEngine:
    """Load the engine of a bundle; the status topics say so while one is being built.

    Where every source is a file, the engine scores several frames at a time; a camera's frame has to be ready soon.

    Raises:
        EngineUnavailable, ParityFailure: see :func:`edge_occ.bundle.loading.load_engine`.
    """
    publishers = [camera.publisher for camera in cameras if camera.publisher is not None]
    options = engine.options(throughput=not any(camera.source.live for camera in cameras))

    def announce_building(phase: str) -> None:
        for publisher in publishers:
            publisher.announce(DeviceState.BUILDING, phase)

    with PhaseReport(announce_building) as progress:
        loaded = load_engine(bundle, engine.name, engine.precision, options, notify=notify, progress=progress)
    if progress.shown:
        for publisher in publishers:
            publisher.announce(DeviceState.ONLINE)
    # The engine holds what it needs of the bundle, which may be larger than all frames in flight.  Tracebacks of
    # engines that failed to load still refer to the bundle, in cycles.
    gc.collect()
    return loaded
