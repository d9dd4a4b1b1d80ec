"""Construction of tasks from settings."""

from __future__ import annotations

from trainer.config import BranchConfig
from trainer.encoders.base import Encoder
from trainer.pretext.contrastive import ContrastiveTask
from trainer.pretext.contrastive_da import DistributionAugmentedTask
from trainer.pretext.cutpaste import CutPasteTask
from trainer.pretext.rotation import RotationTask
from trainer.pretext.task import Task
from trainer.pretext.whole import WholeImageTask


def make_task(config: BranchConfig, encoder: Encoder) -> Task:
    """Return the self-supervised task of a branch."""
    pretext = config.pretext
    match pretext.name:
        case "rotation":
            return RotationTask(pretext, config.views)
        case "contrastive":
            return ContrastiveTask(pretext, config.views)
        case "contrastive-da":
            return DistributionAugmentedTask(pretext, config.views)
        case _:
            whole = pretext.mode == "image"
            return WholeImageTask(pretext) if whole else CutPasteTask(pretext, encoder.stride, encoder.window)
