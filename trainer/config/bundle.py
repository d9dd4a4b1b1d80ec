"""Settings of the bundle: its threshold and its graphs."""

from __future__ import annotations

from pydantic import Field

from trainer.config.section import Section


class CalibrationConfig(Section):
    """The threshold."""

    false_alarm_rate: float = Field(
        0.01, ge=1e-6, lt=0.5, description="Declared share of good parts that raise an alarm, 0.000001 to below 0.5."
    )
    folds: int = Field(
        5,
        ge=2,
        description="Number of folds, at least 2, by which heads without a closed form are scored on held-out parts; a "
        "Gaussian leaves out one part at a time.",
    )


class ExportConfig(Section):
    """Graphs besides fp32, each compared with fp32 and left out of the bundle if it disagrees; stored features."""

    fp16: bool = Field(True, description="Whether to export the encoder in fp16, for GPUs.")
    features: bool = Field(
        True,
        description="Whether to keep the features of the good images next to the bundle (NAME.features.safetensors), "
        "which edge-occ review and refit need. Those of tiles (input.tiles) are not kept.",
    )
    int8: bool = Field(True, description="Whether to export the encoder in int8, except its first convolutions.")
