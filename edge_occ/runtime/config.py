"""Settings of ``edge-occ run``; ``configs/run.yaml`` shows them all with their defaults."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from edge_occ.bundle.operating_points import DecisionConfig
from edge_occ.common.drawn_region import read_drawn_region
from edge_occ.inspection.drift import DriftConfig
from edge_occ.inspection.events import EventTracker
from edge_occ.inspection.guards import GuardsConfig
from edge_occ.inspection.mask import Mask
from edge_occ.inspection.roi import Roi
from edge_occ.inspection.trigger import TriggerConfig
from edge_occ.inspection.view import View
from edge_occ.mqtt.config import MqttConfig
from edge_occ.output.evidence.config import EvidenceConfig
from edge_occ.sources.camera import Patience
from engines.base import EngineOptions, default_cache
from engines.processors import thread_count

_log = logging.getLogger(__name__)

_Side = Annotated[int, Field(ge=2, le=16384)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineConfig(_Section):
    """The engine that computes the scores, and how it is built for this machine."""

    name: Literal["auto", "tensorrt", "onnxruntime-cuda", "cpu", "openvino", "opencv"] = Field(
        "auto", description="auto takes the first that can run here and passes parity"
    )
    precision: Literal["auto", "fp32", "fp16", "int8"] = Field("auto", description="arithmetic of the encoder")
    threads: int | None = Field(
        None, ge=1, description="CPU threads, at most one a processor; null takes what this process may use"
    )
    cache: Path | None = Field(None, description="folder for built engines; null is ~/.cache/edge-occ/engines")
    max_frame: tuple[_Side, _Side] = Field(
        (1200, 1920),
        description="largest height and width of a frame that a built engine must take, where it is not downscaled",
    )
    driver: Literal["auto", "pycuda", "cuda-bindings"] = Field("auto", description="Python package for CUDA")
    memory: Literal["auto", "mapped", "copy"] = Field(
        "auto", description="how frames reach the GPU; auto maps where it shares the host's memory"
    )
    spin: bool = Field(False, description="wait for the GPU with a busy processor")

    @model_validator(mode="before")
    @classmethod
    def _without_typing(cls, settings: object) -> object:
        """Ignore the former setting ``typing``: engines are always strongly typed."""
        if isinstance(settings, dict) and "typing" in settings:
            _log.warning("engine.typing has no effect any more and can be removed: engines are always strongly typed")
            return {name: value for name, value in settings.items() if name != "typing"}
        return settings

    @field_validator("threads")
    @classmethod
    def _within_the_machine(cls, threads: int | None) -> int | None:
        if threads is not None:
            thread_count(threads)
        return threads

    def options(self, *, throughput: bool = False) -> EngineOptions:
        """Return them as the engines take them."""
        return EngineOptions(
            threads=self.threads,
            throughput=throughput,
            cache=self.cache or default_cache(),
            max_frame=self.max_frame,
            driver=self.driver,
            memory=self.memory,
            spin=self.spin,
        )


class SourceConfig(_Section):
    """Time that a camera may give no frames; options of the same names in a source's address take precedence."""

    triggered: bool = Field(False, description="frames come when something triggers the camera: wait without a limit")
    reopen: float | None = Field(
        30,
        ge=0,
        description="seconds without a frame after which a camera that is there is opened again; null never",
    )
    lost: float | None = Field(30, ge=0, description="seconds after which a camera that is gone is given up")
    silent: float | None = Field(
        None, ge=0, description="seconds without a frame after which a camera is given up though it is there"
    )

    def patience(self) -> Patience:
        """Return it as the source takes it."""
        reopen, lost, silent = (math.inf if wait is None else wait for wait in (self.reopen, self.lost, self.silent))
        return Patience(reopen, lost, silent)


class EventConfig(_Section):
    """Start and end of events."""

    k: int = Field(1, ge=1, description="an event starts when k of the last n frames are anomalous")
    n: int = Field(1, ge=1, description="frames looked back on")
    release: float = Field(
        1.0, gt=0, le=1, description="an event ends when the last n scores are below release x threshold"
    )

    part_gap: float | None = Field(
        None,
        gt=0,
        description="seconds; frames further apart show different parts, and an event ends with its part; null: "
        "an event may go on over several parts",
    )

    @model_validator(mode="after")
    def _ordered(self) -> EventConfig:
        if self.k > self.n:
            raise ValueError(f"k must not exceed n, not k={self.k}, n={self.n}")
        return self

    def make(self) -> EventTracker:
        """Return what finds the events of one camera."""
        return EventTracker(self.k, self.n, self.release, self.part_gap)


class MetricsConfig(_Section):
    """Figures for Prometheus and for people; those of MQTT are always in ``stats``."""

    port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="TCP port of the endpoint for Prometheus, 0 for a free one; null is off. Needs the extra [metrics]",
    )
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="address it listens on: this machine alone; 0.0.0.0 for all, which asks for no password",
    )
    log_seconds: float | None = Field(
        None, ge=1, description="seconds between lines of all figures on standard error; null is off"
    )


_Rectangle = tuple[
    Annotated[int, Field(ge=0, le=65535)],
    Annotated[int, Field(ge=0, le=65535)],
    Annotated[int, Field(ge=1, le=65535)],
    Annotated[int, Field(ge=1, le=65535)],
]


class RunConfig(_Section):
    """All settings of the inspector."""

    source: SourceConfig = SourceConfig()
    roi: _Rectangle | dict[str, _Rectangle] | None = Field(
        None,
        description="rectangle of each frame that is inspected: [x, y, width, height] in pixels; by camera where there "
        "are several; null is the whole frame",
    )
    mask: Path | dict[str, Path] | None = Field(
        None,
        description="file of what counts in each frame: a picture of the frame's size whose bright pixels are "
        'inspected, or JSON with polygons in pixels of the frame, {"inspect": [[[x, y], ...], ...], "ignore": [...]}; '
        "by camera where there are several; null is everything",
    )
    trigger: TriggerConfig = TriggerConfig()
    engine: EngineConfig = EngineConfig()
    guards: GuardsConfig = GuardsConfig()
    decision: DecisionConfig = DecisionConfig()
    event: EventConfig = EventConfig()
    evidence: EvidenceConfig = EvidenceConfig()
    drift: DriftConfig = DriftConfig()
    metrics: MetricsConfig = MetricsConfig()
    mqtt: MqttConfig = Field(default_factory=MqttConfig)

    def view_of(self, camera: str) -> View:
        """Return the part of a camera's frames that is inspected; its mask is read.

        Raises:
            InputError: see :func:`edge_occ.common.drawn_region.read_drawn_region` and
                :class:`edge_occ.inspection.mask.Mask`.
        """
        rectangle = self.roi.get(camera) if isinstance(self.roi, dict) else self.roi
        drawn = self.mask.get(camera) if isinstance(self.mask, dict) else self.mask
        roi = None if rectangle is None else Roi(*rectangle)
        return View(roi, None if drawn is None else Mask(read_drawn_region(drawn.expanduser()), roi))
