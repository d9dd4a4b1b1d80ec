"""A bundle's head exchanged for one that torch fitted; see :mod:`edge_occ.bundle.exchange`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.exchange import Exchanged, exchange_head
from edge_occ.bundle.fit_heads import FittedHeads
from edge_occ.common.errors import InputError
from edge_occ.output.preview import preview
from engines.base import Engine
from engines.errors import GraphRefused
from trainer.calibration.fit_heads import CalibratedHead, HeadCalibrator
from trainer.graph.branches import Branch, ImageBranch


def exchange(
    bundle: Bundle, fitted: CalibratedHead, branches: Sequence[Branch], calibrator: HeadCalibrator
) -> Exchanged:
    """Exchange the head of a bundle.

    Args:
        bundle: with the old head.
        fitted: the new one.
        branches: of the graph, without the weights of their encoders.
        calibrator: turns scores of positions into image scores and maps.

    Raises:
        InputError: the new head does not fit the graph.
        ParityFailure: fp32 fails with the old head or with the new one.
    """
    images = any(isinstance(branch, ImageBranch) for branch in branches)

    def reference(
        engine: Engine, frames: Sequence[NDArray[np.uint8]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores and maps by torch; a map that needs the encoder is the graph's own."""
        scores, maps = [], []
        for frame in frames:
            features = [torch.from_numpy(of).unsqueeze(0) for of in engine.features(frame)]
            grids = calibrator.grids(features, fitted.head)
            scores.append(float(calibrator.scores(grids, fitted.head)[0]))
            if images:
                maps.append(engine.infer(frame).map)
            else:
                maps.append(next(calibrator.maps(grids, fitted.head.map_weights))[0].numpy())
        return np.array(scores, np.float32), np.stack(maps)

    head = {name: tensor.numpy() for name, tensor in fitted.head.tensors().items()}
    try:
        return exchange_head(bundle, FittedHeads(head, fitted.held_out, fitted.calibration), reference, preview)
    except GraphRefused as error:
        raise InputError(
            "a head of the shape that the graph takes",
            f"{error.found}: heads of this kind grow with the number of images",
            "move defective images out of the data folder, put good frames into it, and train again",
        ) from error
