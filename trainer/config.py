"""Every setting of ``edge-occ train``, with its default, its limits and where it comes from.

A preset (``configs/presets/*.yaml``) and ``--config`` are YAML files of these fields; ``--set key=value`` overrides
one.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Range = tuple[float, float]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputConfig(_Section):
    """What a frame becomes before the encoder sees it."""

    size: int = Field(256, ge=64, le=2048, description="side in pixels that every frame is resized to")


class EncoderConfig(_Section):
    """The dense patch encoder."""

    stride: Literal[4, 8, 16] = Field(8, description="grid stride in pixels of the resized frame")
    width: int = Field(32, ge=4, le=256, description="channels of the first layer")
    dim: int = Field(256, ge=8, le=2048, description="features a window")


class PretextConfig(_Section):
    """The self-supervised task of stage 1: CutPaste in its four forms."""

    name: Literal["cutpaste", "cutpaste-scar", "cutpaste-union", "cutpaste-3way"] = Field(
        "cutpaste-3way",
        description="which pastes are made and how many classes are told apart (CutPaste, sections 2 and 5)",
    )
    mode: Literal["dense", "crops"] = Field(
        "dense", description="whole images with a label a window, or 64x64 crops as in the paper (section 2.4)"
    )
    area: Range = Field((0.003, 0.06), description="area of a CutPaste patch, as a fraction of what it is pasted into")
    aspect: float = Field(
        3.3, ge=1, description="longest side over shortest, log-uniform (RandomErasing; CutPaste A.2)"
    )
    scar_width: Range = Field((2, 16), description="short side of a scar in pixels (CutPaste A.2)")
    scar_length: Range = Field((10, 40), description="long side of a scar in pixels (CutPaste A.2 has 10 to 25)")
    scar_angle: float = Field(45, ge=0, le=90, description="largest turn of a scar in degrees (CutPaste A.2)")
    pastes: tuple[int, int] = Field((1, 3), description="fewest and most pastes an image (dense mode)")
    patch_jitter: float = Field(0.1, ge=0, lt=1, description="colour jitter of a patch before pasting (CutPaste A.2)")
    image_jitter: float = Field(
        0.1, ge=0, lt=1, description="colour jitter of the whole image (CutPaste A.1 names no value)"
    )
    shift: float = Field(0.0, ge=0, lt=1, description="largest translation, fraction of the side (A.1 names no value)")
    flips: bool = Field(True, description="mirror images at random along both axes")
    visible: float = Field(
        4 / 255, ge=0, le=1, description="a pasted pixel counts where it changed by more than this (mean over channels)"
    )
    least_pixels: int = Field(24, ge=1, description="a window is positive from this many visibly changed pixels on")
    most_covered: float = Field(
        0.95, gt=0, le=1, description="a window covered beyond this fraction holds no seam: ignored"
    )

    @model_validator(mode="after")
    def _ordered(self) -> PretextConfig:
        for name in ("area", "scar_width", "scar_length", "pastes"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be two rising positive numbers, not {low}, {high}")
        return self


class OptimiserConfig(_Section):
    """Stage 1: SGD with momentum 0.9 and one cosine cycle (CutPaste, A.1), after a linear warm-up."""

    steps: int = Field(420, ge=1, description="updates (the paper's patch model: 65,536)")
    batch: int = Field(16, ge=2, description="images a step")
    learning_rate: float = Field(0.05, gt=0, description="peak learning rate (the paper: 0.03 with batch 96)")
    weight_decay: float = Field(3e-5, ge=0, description="L2 penalty (CutPaste, A.1)")
    warmup: float = Field(0.1, ge=0, lt=1, description="fraction of the steps over which the rate rises")
    checkpoint_seconds: float = Field(30, gt=0, description="a checkpoint is written this often")


class HeadConfig(_Section):
    """Stage 2: Gaussian density estimation on window features (CutPaste, sections 2.4 and A.5)."""

    scope: Literal["shared", "per-position", "position-mean"] = Field(
        "per-position",
        description="one Gaussian for all positions, one a position (aligned parts), or means by position and one "
        "covariance",
    )
    dim: int = Field(100, ge=2, le=2048, description="features left after the fixed orthogonal projection")
    regulariser: Literal["ledoit-wolf", "ridge"] = Field(
        "ledoit-wolf", description="what makes the covariance invertible"
    )
    ridge: float = Field(
        1e-6, gt=0, description="added to the diagonal with regulariser=ridge (scikit-learn's reg_covar)"
    )
    floor: float = Field(
        0.01,
        ge=0,
        description="variance added to every feature, as a share of its variance over all positions: a change of less "
        "than a tenth of the usual spread is little evidence, so that neither dust on an even ground nor rounding to "
        "fp16 decides; 0 is the paper's",
    )
    neighbourhood: int | Literal["auto"] = Field(
        "auto",
        description="per-position Gaussians pool the samples of this many rows and columns of positions (odd); "
        "auto takes the fewest that give two samples a dimension, at most 5",
    )

    @model_validator(mode="after")
    def _odd(self) -> HeadConfig:
        if self.neighbourhood != "auto" and (self.neighbourhood < 1 or self.neighbourhood % 2 == 0):
            raise ValueError(f"neighbourhood must be odd and positive, or auto, not {self.neighbourhood}")
        return self

    def of_centre(self, available: int) -> int:
        """Dimensions for the features of a window's centre: all there are, at most two thirds of the head's."""
        return min(available, 2 * self.dim // 3)

    def samples_side(self, images: int) -> int:
        """Rows and columns of positions to pool, for a head fitted on ``images`` images."""
        if self.neighbourhood != "auto":
            return self.neighbourhood
        return next((side for side in (1, 3) if images * side * side >= 2 * self.dim), 5)


class MapConfig(_Section):
    """From window scores to the score map and the image score."""

    sigma: float = Field(
        4, gt=0, description="smoothing of the score map, Gaussian sigma in pixels of the resized frame"
    )
    image_score: Literal["max", "top"] = Field("max", description="maximum of the map, or mean of its highest values")
    top_fraction: float = Field(0.01, gt=0, le=0.05, description="fraction of the map averaged with image_score=top")


class CalibrationConfig(_Section):
    """The threshold's promise."""

    false_alarm_rate: float = Field(0.01, gt=0, lt=0.5, description="declared share of good parts that raise an alarm")
    folds: int = Field(5, ge=2, description="head refits; every image is scored by a head that never saw it")


class ExportConfig(_Section):
    """Graphs beside fp32; each is compared with it, and left out of the bundle if it does not agree."""

    fp16: bool = Field(True, description="encoder in fp16, for GPUs")
    int8: bool = Field(True, description="encoder in int8, but for its first convolutions")


class TrainConfig(_Section):
    """All settings of a training run."""

    input: InputConfig = InputConfig()
    encoder: EncoderConfig = EncoderConfig()
    pretext: PretextConfig = PretextConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    head: HeadConfig = HeadConfig()
    map: MapConfig = MapConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    export: ExportConfig = ExportConfig()

    @model_validator(mode="after")
    def _head_fits(self) -> TrainConfig:
        of_window = self.head.dim - self.head.of_centre(2 * self.encoder.width)
        if of_window > self.encoder.dim:
            raise ValueError(
                f"head.dim={self.head.dim} needs encoder.dim of at least {of_window}, not {self.encoder.dim}"
            )
        return self
