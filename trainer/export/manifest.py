"""The manifest of a training: what a bundle records of its settings, data and results."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edge_occ import __version__
from edge_occ.bundle.downscale import HALVING
from edge_occ.bundle.manifest import Calibration, Geometry
from edge_occ.bundle.provenance import ModelSelection as SelectionRecord
from edge_occ.bundle.provenance import Training
from edge_occ.common.printable import printable
from edge_occ.common.size import Size
from trainer.config import BranchConfig, TrainConfig
from trainer.data.images import NormalImages
from trainer.export.assemble import Assembled
from trainer.export.recipe import recipe
from trainer.graph.branches import Branch
from trainer.graph.inspection import exact_branch
from trainer.pretrain.fit_encoder import Fit

_LICENCES = "Code and graph: Apache-2.0 (edge-occ). Golden frames and preview: whoever owns the training images."


@dataclass(frozen=True)
class Facts:
    """Facts about a training.

    Attributes:
        command: as typed.
        preset: name of the preset.
        seed: of the training.
        size: height and width that frames are resized to.
        config: the settings that were used, after model selection.
        data: the normal images.
        branches: of the graph.
        fits: how each encoder was trained; ``None`` where it was not.
        selection: record of the model selection; ``None`` without one.
        seconds: duration so far.
        region: pixels that are inspected, bool of the shape ``size``; ``None``: all.
    """

    command: str
    preset: str
    seed: int
    size: Size
    config: TrainConfig
    data: NormalImages
    branches: Sequence[Branch]
    fits: Sequence[Fit | None]
    selection: SelectionRecord | None
    seconds: float
    region: NDArray[np.bool_] | None


def manifest_fields(facts: Facts, calibration: Calibration, exported: Assembled) -> dict[str, object]:
    """Return the fields of :class:`edge_occ.bundle.manifest.Manifest`, all but the format and the members."""
    config, data = facts.config, facts.data
    fits = [fit for fit in facts.fits if fit is not None]
    exact = exact_branch(facts.branches)
    window, stride, grid = facts.branches[exact or 0].geometry
    software = {"python": platform.python_version(), "torch": torch.__version__, "onnx": onnx.__version__}
    return {
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "edge_occ": __version__,
        "geometry": Geometry(
            size=facts.size,
            branch=exact or 0,
            exact=exact is not None,
            window=window,
            stride=stride,
            grid=grid,
            downscaling=HALVING,
            pose=data.pose,
            frame=data.frame,
            crop=None if data.crop is None else astuple(data.crop)[:4],
            tiles=data.tiles,
        ),
        "head": {
            **config.head.model_dump(),
            "samples_side": config.head.samples_side(len(data.shots)),
            "branches": [_branch(*pair) for pair in zip(config.branches, facts.branches, strict=True)],
        },
        "calibration": calibration,
        "precisions": exported.precisions,
        "recipe": recipe(config, facts.branches, facts.region),
        "training": Training(
            command=printable(facts.command),
            preset=printable(facts.preset),
            seed=facts.seed,
            steps=sum(fit.history[-1][0] for fit in fits),
            seconds=round(facts.seconds, 1),
            images=len(data),
            parts=len(set(data.parts)),
            copies=data.copies,
            look_alike=data.look_alike,
            skipped=data.skipped,
            conversions=data.conversions,
            colour=data.traits.colour,
            white=data.traits.white,
            exposure=data.traits.exposure,
            data_sha256=data.sha256,
            software=software,
            config=_printable(config.model_dump(mode="json")),
        ),
        "parity_tolerance": exported.tolerances,
        "model_selection": facts.selection,
        "metrics": _pretraining_metrics(fits),
        "licences": _LICENCES,
    }


def _printable(settings: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return settings with the names of files as text."""
    match settings:
        case str():
            return printable(settings)
        case dict():
            return {name: _printable(value) for name, value in settings.items()}
        case list():
            return [_printable(value) for value in settings]
    return settings


def _pretraining_metrics(fits: Sequence[Fit]) -> dict[str, float]:
    """Return the training time of all encoders and the last loss of the first; nothing if none was trained."""
    if not fits:
        return {}
    return {"stage1_seconds": round(sum(fit.seconds for fit in fits), 1), "stage1_loss": fits[0].history[-1][1]}


def _branch(config: BranchConfig, branch: Branch) -> dict[str, object]:
    """Return what the model card shows of a branch."""
    window, stride, grid = branch.geometry
    return {
        "encoder": config.encoder.name,
        "window": window,
        "stride": stride,
        "grid": grid,
        **config.head.model_dump(include={"kind", "scope", "further_kinds", "dim", "regulariser"}),
        "standardise": tuple(own.standardise[0] for own in config.head.each),
        "in_region": tuple(branch.region(k) is not None for k in range(len(config.head.each))),
        "image_score": config.map.image_score,
    }
