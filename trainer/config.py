"""Every setting of ``edge-occ train``, with its default, its limits and where it comes from.

A preset (``configs/presets/*.yaml``) and ``--config`` are YAML files of these fields; ``--set key=value`` overrides
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, PositiveFloat, model_validator

Range = tuple[float, float]
Scope = Literal["shared", "per-position", "position-mean"]


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputConfig(_Section):
    """What a frame becomes before the encoder sees it."""

    size: int = Field(256, ge=64, le=2048, description="side in pixels that every frame is resized to")


class EncoderConfig(_Section):
    """The network from an image to a grid of features."""

    name: Literal["dense", "lite0", "resnet18"] = Field(
        "dense",
        description="dense: valid convolutions, exact window by window; lite0: EfficientNet-Lite0, several layers on "
        "one grid; resnet18: one feature an image, as the papers' image-level model",
    )
    init: str = Field(
        "scratch",
        description="weights to begin with: scratch, imagenet (lite0 only: an installed package), or a file of weights "
        "(.safetensors, or .pth as timm and torchvision write them)",
    )
    window: Literal[64, 32] = Field(
        64, description="side in pixels of what a feature sees; 32: strides 4 and 8, one scale (dense; CutPaste A.5)"
    )
    stride: Literal[4, 8, 16] = Field(8, description="grid stride in pixels of the resized frame (dense)")
    width: int = Field(32, ge=4, le=256, description="channels of the first layer (dense)")
    dim: int = Field(256, ge=8, le=2048, description="features a window (dense)")
    blocks: tuple[int, ...] = Field(
        (2, 4, 7, 10), description="blocks whose outputs are the features, of 0..15 (lite0)"
    )

    @model_validator(mode="after")
    def _known(self) -> EncoderConfig:
        if self.name == "dense" and self.init != "scratch":
            raise ValueError(f"the dense encoder has no weights to begin with: init must be scratch, not {self.init}")
        if self.name == "dense" and self.window == 32 and self.stride == 16:
            raise ValueError("encoder.window=32 goes with encoder.stride=4 or 8, not 16")
        if (
            not self.blocks
            or sorted(set(self.blocks)) != list(self.blocks)
            or not 0 <= self.blocks[0] <= self.blocks[-1] <= 15
        ):
            raise ValueError(f"blocks must rise within 0..15, not {self.blocks}")
        return self


class PretextConfig(_Section):
    """The self-supervised task of stage 1."""

    name: Literal[
        "none",
        "cutpaste",
        "cutpaste-scar",
        "cutpaste-union",
        "cutpaste-3way",
        "cutout",
        "cutout-mean",
        "cutout-colour",
        "colour-scar",
        "confetti",
        "rotation",
    ] = Field(
        "cutpaste-3way",
        description="what is told apart: CutPaste in its four forms, the baselines of its tables 1 and 4 (mode=image), "
        "or none, which leaves the encoder as it begins",
    )
    mode: Literal["dense", "crops", "image"] = Field(
        "dense",
        description="whole images with a label a window, crops with one label (CutPaste, section 2.4), or whole images "
        "with one label (section 2.2)",
    )
    crop: Literal[64, 32] = Field(
        64,
        description="side of a crop in pixels; the features of a crop larger than encoder.window are averaged (crops "
        "mode; CutPaste 4.2 has 64)",
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
    offsets: bool = Field(
        False, description="translate images by less than a stride, so that parts lie at every phase of the grid"
    )
    patch_jitter_to: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="the strength of each patch's jitter lies between patch_jitter and this (dense, crops)",
    )
    scar_blend: Range = Field((1, 1), description="opacity of a scar: low values make it faint (dense, crops)")
    scar_near: float = Field(
        1, ge=0, le=1, description="share of the way to its source at which a scar is cut, low: alike (dense, crops)"
    )
    kinds: Literal["image", "paste"] = Field(
        "image", description="one kind of paste an image, or each paste of either kind (dense mode)"
    )
    balance: Literal["fixed", "frequency"] = Field(
        "fixed",
        description="weights of the classes: 1 normal, 2 each kind; or by how rare each is in a batch (dense mode)",
    )
    source: Literal["same", "other"] = Field(
        "same", description="patches are cut from the image itself, or from another one (NSA; dense, crops)"
    )
    poisson: float = Field(
        0, ge=0, le=1, description="share of CutPaste patches blended without a seam (NSA; dense, crops)"
    )
    foreground: bool = Field(
        False, description="cut and paste on the part rather than on the ground around it (NSA; dense mode)"
    )
    scales: Literal[1, 2] = Field(
        1,
        description="classify each window, or also the central 32 of its 64 pixels (dense encoder of 64, dense mode)",
    )
    hidden_layers: int = Field(
        1, ge=0, le=16, description="depth of the projection head (image mode; the authors' other code has 8)"
    )
    hidden_width: int = Field(512, ge=8, le=2048, description="width of its hidden layers (image mode)")
    embedding: int = Field(
        0, ge=0, le=2048, description="width of its last, linear layer, 0 for none (image mode; theirs has 128)"
    )

    @model_validator(mode="after")
    def _ordered(self) -> PretextConfig:
        for name in ("area", "scar_width", "scar_length", "pastes", "scar_blend"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be two rising positive numbers, not {low}, {high}")
        if not self.name.startswith("cutpaste") and self.name != "none" and self.mode != "image":
            raise ValueError(f"pretext.name={self.name} labels whole images: it needs pretext.mode=image")
        if self.scales == 2 and self.mode != "dense":
            raise ValueError(f"pretext.scales=2 needs pretext.mode=dense, not {self.mode}")
        if self.scar_blend[1] > 1:
            raise ValueError(f"scar_blend is an opacity of at most 1, not {self.scar_blend[1]}")
        return self


class OptimiserConfig(_Section):
    """Stage 1: SGD with momentum 0.9 and one cosine cycle (CutPaste, A.1), after a linear warm-up."""

    steps: int = Field(420, ge=1, description="updates (the paper's patch model: 65,536)")
    batch: int = Field(16, ge=2, description="images a step")
    learning_rate: float = Field(0.05, gt=0, description="peak learning rate (the paper: 0.03 with batch 96)")
    weight_decay: float = Field(3e-5, ge=0, description="L2 penalty (CutPaste, A.1)")
    warmup: float = Field(0.1, ge=0, lt=1, description="fraction of the steps over which the rate rises")
    nesterov: bool = Field(True, description="Nesterov's momentum; the paper's is plain")
    checkpoint_seconds: float = Field(30, gt=0, description="a checkpoint is written this often")


class HeadConfig(_Section):
    """Stage 2: Gaussian density estimation on window features (CutPaste, sections 2.4 and A.5)."""

    scope: Annotated[tuple[Scope, ...], BeforeValidator(_several)] = Field(
        ("per-position",),
        min_length=1,
        description="one Gaussian for all positions (shared), one a position (per-position: aligned parts), or means "
        "by position and one covariance (position-mean); a list of them makes one head each, fused",
    )
    dim: int = Field(100, ge=2, le=2048, description="features left after the fixed orthogonal projection")
    l2: bool = Field(False, description="divide features by their length first, as the papers' code does")
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

    def shares(self, scales: Sequence[int]) -> tuple[int, ...]:
        """Dimensions for each scale of an encoder's features: all there are of the later ones, at most two thirds of
        the head's in all; the rest for the first.

        Raises:
            ValueError: the encoder has too few features.
        """
        first, *later = scales
        taken: list[int] = []
        for scale in later:
            taken.append(min(scale, 2 * self.dim // 3 - sum(taken)))
        rest = self.dim - sum(taken)
        if rest > first:
            raise ValueError(f"head.dim={self.dim} is more than the encoder's {first} + {sum(taken)} features")
        return (rest, *taken)

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
    upsampling: Literal["normalised", "paper"] = Field(
        "normalised",
        description="whether the map keeps its gain towards the border, or loses it as the paper's raw transposed "
        "Gaussian does (CutPaste, A.5)",
    )
    image_score: Literal["max", "top"] = Field("max", description="maximum of the map, or mean of its highest values")
    top_fraction: float = Field(0.01, gt=0, le=0.05, description="fraction of the map averaged with image_score=top")


class FusionConfig(_Section):
    """How several heads give one score and one map: each is measured by its spread on held-out normal images, then they
    are added.
    """

    score_weights: tuple[FiniteFloat, ...] | None = Field(
        None, description="weight of each head in the image score, in the order of branches and scopes; none: equal"
    )
    map_weights: tuple[FiniteFloat, ...] | None = Field(None, description="the same in the score map")

    @model_validator(mode="after")
    def _weigh(self) -> FusionConfig:
        for name in ("score_weights", "map_weights"):
            weights = getattr(self, name)
            if weights is not None and (min(weights, default=0) < 0 or sum(weights) <= 0):
                raise ValueError(f"{name} must be at least 0 and not all 0, not {weights}")
        return self


class CalibrationConfig(_Section):
    """The threshold's promise."""

    false_alarm_rate: float = Field(0.01, gt=0, lt=0.5, description="declared share of good parts that raise an alarm")
    folds: int = Field(5, ge=2, description="head refits; every image is scored by a head that never saw it")


class ExportConfig(_Section):
    """Graphs beside fp32; each is compared with it, and left out of the bundle if it does not agree."""

    fp16: bool = Field(True, description="encoder in fp16, for GPUs")
    int8: bool = Field(True, description="encoder in int8, but for its first convolutions")


class ChoiceConfig(_Section):
    """Heads, smoothing and fusion chosen by synthetic defects on held-out normal images (preset auto)."""

    enabled: bool = Field(False, description="choose, instead of taking head.scope, map and fusion as they are set")
    scopes: tuple[Scope, ...] = Field(
        ("per-position", "shared"), min_length=1, description="heads to try on each branch"
    )
    sigmas: tuple[PositiveFloat, ...] = Field((4, 8), min_length=1, description="smoothings to try on each branch")
    image_scores: tuple[Literal["max", "top"], ...] = Field(
        ("max", "top"), min_length=1, description="image scores to try on each branch"
    )
    images: int = Field(64, ge=8, description="synthetic defects of each of the generators")
    beside: Literal["always", "unaligned"] = Field(
        "always",
        description="whether the branches beside the first are trained for aligned parts too, where frozen features "
        "alone were as good",
    )
    aligned: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the features' variance that the position must explain for parts to count as aligned; "
        "else encoders trained here get a shared head, and every encoder counts alike in the image score",
    )


class BranchConfig(_Section):
    """One encoder, how it is trained, and the heads on its features."""

    encoder: EncoderConfig = EncoderConfig()
    pretext: PretextConfig = PretextConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    head: HeadConfig = HeadConfig()
    map: MapConfig = MapConfig()

    @model_validator(mode="after")
    def _trainable(self) -> BranchConfig:
        if self.pretext.name != "none" and self.pretext.mode != "image" and self.encoder.name != "dense":
            raise ValueError(
                f"only the dense encoder has a label for each window: encoder.name={self.encoder.name} needs "
                "pretext.mode=image, or pretext.name=none"
            )
        if self.pretext.mode == "crops" and self.pretext.crop < self.encoder.window:
            raise ValueError(f"pretext.crop={self.pretext.crop} is smaller than encoder.window={self.encoder.window}")
        if self.pretext.scales == 2 and self.encoder.window == 32:
            raise ValueError("pretext.scales=2 needs encoder.window=64: one of 32 has one scale of features")
        return self


class TrainConfig(BranchConfig):
    """All settings of a training run; the settings of a branch are those of the first one."""

    input: InputConfig = InputConfig()
    beside: tuple[BranchConfig, ...] = Field((), description="further branches, whose heads are fused with the first's")
    ensemble: int = Field(1, ge=1, le=16, description="models of every branch, each with a seed of its own, fused")
    fusion: FusionConfig = FusionConfig()
    choice: ChoiceConfig = ChoiceConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    export: ExportConfig = ExportConfig()

    @property
    def branches(self) -> tuple[BranchConfig, ...]:
        """Every branch, in the order of the graph: the first and those beside it, once for each of the ensemble."""
        first = BranchConfig(**{name: getattr(self, name) for name in BranchConfig.model_fields})
        return (first, *self.beside) * self.ensemble

    @property
    def heads(self) -> tuple[tuple[int, Scope], ...]:
        """Every head, in the order of the graph: its branch and its scope."""
        return tuple((i, scope) for i, branch in enumerate(self.branches) for scope in branch.head.scope)

    @model_validator(mode="after")
    def _choosable(self) -> TrainConfig:
        if self.choice.enabled and (self.ensemble > 1 or any(b.encoder.name == "resnet18" for b in self.branches)):
            raise ValueError("choice.enabled works with patch encoders (dense, lite0) and without an ensemble")
        return self

    @model_validator(mode="after")
    def _weights_fit(self) -> TrainConfig:
        for name in ("score_weights", "map_weights"):
            weights = getattr(self.fusion, name)
            if weights is not None and len(weights) != len(self.heads):
                raise ValueError(
                    f"fusion.{name} needs a weight for each of {len(self.heads)} heads, not {len(weights)}"
                )
        return self
