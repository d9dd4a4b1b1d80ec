"""All settings of a training: branches, and their common settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, model_validator

from edge_occ.common.size import Size
from trainer.config.bundle import CalibrationConfig, ExportConfig
from trainer.config.camera_changes import CameraChangesConfig
from trainer.config.encoder import EncoderConfig, InputConfig
from trainer.config.head import HeadConfig
from trainer.config.optimiser import OptimiserConfig
from trainer.config.pose import PoseConfig
from trainer.config.pretext import PretextConfig
from trainer.config.region import RegionConfig
from trainer.config.score_map import FusionConfig, MapConfig
from trainer.config.section import Section
from trainer.config.selection import SelectionConfig
from trainer.config.views import ViewsConfig

_CONTRASTIVE = ("contrastive", "contrastive-da")
_WITH_VIEWS = ("rotation", *_CONTRASTIVE)


class BranchConfig(Section):
    """A branch: an encoder, its training, and the heads on its features."""

    encoder: EncoderConfig = EncoderConfig()
    pretext: PretextConfig = PretextConfig()
    views: ViewsConfig = ViewsConfig()
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

    @model_validator(mode="after")
    def _viewed(self) -> BranchConfig:
        name, enabled = self.pretext.name, self.views.enabled
        if enabled and name not in _WITH_VIEWS:
            raise ValueError(f"views.enabled=true goes with pretext.name={', '.join(_WITH_VIEWS)}, not with {name}")
        if not enabled and name in _CONTRASTIVE:
            raise ValueError(f"pretext.name={name} compares views: it needs views.enabled=true")
        return self


class TrainConfig(BranchConfig):
    """All settings of a training; the inherited ones are of the first branch."""

    renamed: ClassVar[Mapping[str, str]] = {"beside": "further_branches", "choice": "selection"}

    input: InputConfig = InputConfig()
    pose: PoseConfig = PoseConfig()
    region: RegionConfig = RegionConfig()
    further_branches: tuple[BranchConfig, ...] = Field(
        (),
        description="Further branches, each with the sections encoder, pretext, views, optimiser, head and map; their "
        "heads are fused with the first branch's.",
    )
    ensemble: int = Field(
        1,
        ge=1,
        le=16,
        description="Number of models of every branch, 1 to 16, each trained with another seed, and fused.",
    )
    fusion: FusionConfig = FusionConfig()
    selection: SelectionConfig = SelectionConfig()
    camera_changes: CameraChangesConfig = CameraChangesConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    export: ExportConfig = ExportConfig()

    @property
    def branches(self) -> tuple[BranchConfig, ...]:
        """All branches in the order of the graph, repeated for each model of an ensemble."""
        first = BranchConfig(**{name: getattr(self, name) for name in BranchConfig.model_fields})
        return (first, *self.further_branches) * self.ensemble

    @property
    def heads(self) -> tuple[tuple[int, HeadConfig], ...]:
        """Every head, in the order of the graph: its branch and its own settings, with one scope."""
        return tuple((i, head) for i, branch in enumerate(self.branches) for head in branch.head.each)

    def resized(self, frame: Size) -> Size:
        """Return the size that frames of this size are resized to, a square if a task turns images by 90 degrees."""
        return self.input.resized((1, 1) if self._turns else frame)

    @property
    def keeps_features(self) -> bool:
        """True if features are stored next to the bundle: not those of tiles, which are no image's."""
        return self.export.features and self.input.tiles is None

    @property
    def _turns(self) -> bool:
        return any(branch.pretext.name in _WITH_VIEWS for branch in self.branches)

    @model_validator(mode="after")
    def _square(self) -> TrainConfig:
        if self._turns and len(set(self.resized((1, 1)))) > 1:
            raise ValueError(
                f"pretext.name={', '.join(_WITH_VIEWS)} turns and crops squares: input.size needs one side, not "
                f"{self.input.size}"
            )
        return self

    @model_validator(mode="after")
    def _tiled(self) -> TrainConfig:
        if self.input.tiles is not None and self.pose.mode == "turn":
            raise ValueError("pose.mode=turn needs whole parts: use pose.mode=none, or leave input.tiles out")
        if self.input.tiles is not None and self.region.file is not None:
            raise ValueError(
                f"region.mode={self.region.file} is of whole frames: use region.mode=whole, or leave input.tiles out"
            )
        return self

    @model_validator(mode="after")
    def _selectable(self) -> TrainConfig:
        if self.selection.enabled and (self.ensemble > 1 or any(b.encoder.name == "resnet18" for b in self.branches)):
            raise ValueError("selection.enabled works with patch encoders (dense, lite0) and without an ensemble")
        if self.selection.enabled and any(set(branch.head.kinds) != {"gaussian"} for branch in self.branches):
            raise ValueError(
                "selection.enabled selects among Gaussians: it needs head.kind=gaussian alone on every branch"
            )
        return self

    @model_validator(mode="after")
    def _with_positions(self) -> TrainConfig:
        if self.region.mode != "whole" and any(branch.encoder.name == "resnet18" for branch in self.branches):
            raise ValueError(
                f"region.mode={self.region.mode} works with patch encoders (dense, lite0); resnet18 has one score for "
                "the whole image"
            )
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
