"""Every setting of ``edge-occ train``, with its default, its limits and where it comes from.

A preset (``configs/presets/*.yaml``) and ``--config`` are YAML files of these fields; ``--set key=value`` overrides
one.
"""

from trainer.config.camera_changes import CameraChangesConfig
from trainer.config.choice import CalibrationConfig, ChoiceConfig, ExportConfig
from trainer.config.encoder import EncoderConfig, InputConfig
from trainer.config.head import FusionConfig, HeadConfig, HeadKind, MapConfig, Scope
from trainer.config.optimiser import OptimiserConfig
from trainer.config.pretext import PretextConfig
from trainer.config.section import Range
from trainer.config.train import BranchConfig, TrainConfig
from trainer.config.views import ViewsConfig

__all__ = [
    "BranchConfig",
    "CalibrationConfig",
    "CameraChangesConfig",
    "ChoiceConfig",
    "EncoderConfig",
    "ExportConfig",
    "FusionConfig",
    "HeadConfig",
    "HeadKind",
    "InputConfig",
    "MapConfig",
    "OptimiserConfig",
    "PretextConfig",
    "Range",
    "Scope",
    "TrainConfig",
    "ViewsConfig",
]
