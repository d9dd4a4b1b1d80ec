"""Every setting of ``edge-occ run``; ``configs/run.yaml`` shows them with their defaults."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_occ.mqtt.config import MqttConfig


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineConfig(_Section):
    """What computes the scores."""

    name: Literal["auto", "cpu", "tensorrt"] = Field("auto", description="auto takes the fastest that passes parity")
    threads: int | None = Field(None, ge=1, description="CPU threads; null takes every processor of this process")


class EventConfig(_Section):
    """When the line is told that something began or ended."""

    k: int = Field(1, ge=1, description="an event starts when k of the last n frames are anomalous")
    n: int = Field(1, ge=1, description="frames looked back on")
    release: float = Field(
        1.0, gt=0, le=1, description="an event ends when the last n scores are below release x threshold"
    )

    @model_validator(mode="after")
    def _ordered(self) -> EventConfig:
        if self.k > self.n:
            raise ValueError(f"k must not exceed n, not k={self.k}, n={self.n}")
        return self


class RunConfig(_Section):
    """All settings of the inspector."""

    engine: EngineConfig = EngineConfig()
    event: EventConfig = EventConfig()
    mqtt: MqttConfig = Field(default_factory=MqttConfig)
