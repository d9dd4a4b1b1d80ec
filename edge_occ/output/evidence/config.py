"""The ``evidence`` section of the configuration."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class EvidenceConfig(BaseModel):
    """Pictures and records of events, kept in a folder; off by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path | None = Field(
        None, description="folder of the evidence, for instance /var/lib/edge-occ/evidence; null keeps none"
    )
    max_mb: int = Field(
        2000, ge=1, le=100_000_000, description="megabytes of evidence of one camera; the oldest events make room"
    )
    max_days: float = Field(30, gt=0, le=36_500, description="days after which an event's evidence is removed")
    format: Literal["png", "jpeg"] = Field(
        "png", description="format of the frame: png is lossless, jpeg has a tenth of the size"
    )

    @property
    def max_bytes(self) -> int:
        """``max_mb`` in bytes."""
        return self.max_mb * 1_000_000

    @property
    def max_age(self) -> timedelta:
        """``max_days`` as a time."""
        return timedelta(days=self.max_days)

    @property
    def suffix(self) -> str:
        """Ending of the frame's file."""
        return "jpg" if self.format == "jpeg" else "png"
