"""All settings of ``edge-occ train``, with defaults and limits.

Presets (``configs/presets/*.yaml``) and ``--config`` are YAML files of these fields; ``--set key=value`` overrides one.
"""

from edge_occ.bundle.sample_grid import Scope
from trainer.config.bundle import CalibrationConfig, ExportConfig
from trainer.config.camera_changes import CameraChangesConfig
from trainer.config.encoder import EncoderConfig, InputConfig
from trainer.config.head import HeadConfig, HeadKind
from trainer.config.optimiser import OptimiserConfig
from trainer.config.pose import PoseConfig, PoseMode
from trainer.config.pretext import PretextConfig
from trainer.config.region import RegionConfig
from trainer.config.score_map import FusionConfig, MapConfig
from trainer.config.section import Range
from trainer.config.selection import SelectionConfig
from trainer.config.train import BranchConfig, TrainConfig
from trainer.config.views import ViewsConfig

__all__ = [
    "BranchConfig",
    "CalibrationConfig",
    "CameraChangesConfig",
    "EncoderConfig",
    "ExportConfig",
    "FusionConfig",
    "HeadConfig",
    "HeadKind",
    "InputConfig",
    "MapConfig",
    "OptimiserConfig",
    "PoseConfig",
    "PoseMode",
    "PretextConfig",
    "Range",
    "RegionConfig",
    "Scope",
    "SelectionConfig",
    "TrainConfig",
    "ViewsConfig",
]
