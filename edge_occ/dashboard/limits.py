"""Bounds of what a dashboard keeps and sends."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """Bounds of memory, rates and connections; whatever devices and browsers do, they hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tiles: int = Field(500, ge=1, description="Devices and cameras shown; further ones are counted and left out.")
    events: int = Field(20, ge=1, description="Events kept of each tile.")
    points: int = Field(300, ge=2, description="Points of each tile's history of scores.")
    point_ms: int = Field(1000, ge=1, description="Milliseconds of a point: it is the highest score in them.")
    silent_seconds: float = Field(15, gt=0, description="Seconds without a message after which a device is silent.")
    heatmap_bytes: int = Field(4 << 20, ge=1, description="Bytes of a heatmap; larger ones are left out.")
    heatmaps_bytes: int = Field(256 << 20, ge=1, description="Bytes of all heatmaps; beyond, the oldest is dropped.")
    pushes_hz: float = Field(5, gt=0, le=10, description="Messages to each browser a second.")
    previews_hz: float = Field(5, gt=0, le=10, description="Pictures of each preview a second.")
    streams: int = Field(32, ge=1, description="Browsers and programs that are pushed to at a time.")
    previews: int = Field(8, ge=1, description="Previews at a time.")
    listed_events: int = Field(200, ge=1, description="Events in the answer of /events.")
