"""Settings of trainings that take a second, to be changed."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, Any] = {
    "input": {"size": 96},
    "encoder": {"width": 4, "dim": 16},
    "optimiser": {"steps": 1, "batch": 2},
    "head": {"dim": 8, "floor": 0.05},
    "calibration": {"folds": 3},
    "export": {"fp16": False, "int8": False},
}
PLAIN: dict[str, Any] = {**SMALL, "optimiser": {"steps": 3, "batch": 2}, "head": {"dim": 8}}
