"""A bundle's head exchanged: the same graphs with another head, and golden scores and preview that follow from it.

Each graph first passes the parity gate with the old head, which shows that this machine computes what the trainer did.
With the new head, the reference of the golden frames is computed in torch from the graph's own features, and every
precision has to reproduce it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch

from edge_occ.bundle.bundle import GOLDEN, HEAD, PREVIEW, Bundle, graph_name, reference_name
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.manifest import Precision
from edge_occ.bundle.tensors import golden_member, reference_member
from edge_occ.common.errors import EngineUnavailable, InputError, ParityFailure
from engines.base import Engine
from engines.errors import GraphRefused
from engines.parity import Golden, Parity, require_parity
from trainer.calibration.fit_heads import CalibratedHead, HeadCalibrator
from trainer.config import TrainConfig
from trainer.export.preview import preview
from trainer.graph.branches import Branch, ImageBranch

_ENGINE = "cpu"


@dataclass(frozen=True)
class Exchanged:
    """The content of a bundle with another head.

    Attributes:
        members: all members but the model card.
        precisions: record of each precision below fp32; one that failed is not included any more.
        tolerances: tolerance of the parity gate for each precision that is left.
        parity: the fp32 graph with the new head, compared with torch.
        left_out: a sentence for each precision that failed.
    """

    members: Mapping[str, bytes]
    precisions: Mapping[str, Precision]
    tolerances: Mapping[str, float]
    parity: Parity
    left_out: Sequence[str]


class HeadExchange:
    """Exchanges the head of a bundle.

    Args:
        bundle: with the old head.
        fitted: the new one.
        config: settings of the training.
        branches: of the graph, without the weights of their encoders.
        calibrator: turns scores of positions into image scores and maps.
    """

    def __init__(
        self,
        bundle: Bundle,
        fitted: CalibratedHead,
        config: TrainConfig,
        branches: Sequence[Branch],
        calibrator: HeadCalibrator,
    ) -> None:
        self._bundle, self._fitted, self._config = bundle, fitted, config
        self._branches, self._calibrator = branches, calibrator

    def run(self) -> Exchanged:
        """Exchange it.

        Raises:
            InputError: the new head does not fit the graph.
            ParityFailure: fp32 fails with the old head or with the new one.
        """
        bundle = self._bundle
        members = {**bundle.members, HEAD: self._fitted.member}
        with closing(self._engine("fp32")) as engine:
            golden = self._reference(engine)
            parity = require_parity(engine, golden, bundle.tolerance("fp32"))
            members[GOLDEN] = golden_member(golden)
            members[PREVIEW] = preview(engine, golden, self._fitted.calibration)
        precisions, left_out = dict(bundle.manifest.precisions), []
        for precision in bundle.precisions[1:]:
            reason, changed = self._reduced(precision, golden)
            if reason is None:
                members |= changed
                continue
            for name in (graph_name(precision), reference_name(precision)):
                members.pop(name, None)
            update = {"included": False, "reason": reason}
            precisions[precision] = precisions[precision].model_copy(update=update)
            left_out.append(f"{precision} is left out of the new bundle: {reason}")
        tolerances = {p: of for p, of in bundle.manifest.parity_tolerance.items() if graph_name(p) in members}
        return Exchanged(members, precisions, tolerances, parity, left_out)

    def _engine(self, precision: str) -> Engine:
        """An engine that has passed the gate with the old head, and has the new one."""
        engine = load_engine(self._bundle, _ENGINE, precision).engine
        try:
            engine.set_head({name: tensor.numpy() for name, tensor in self._fitted.head.tensors().items()})
        except GraphRefused as error:
            engine.close()
            raise InputError(
                "a head of the shape that the graph takes",
                f"{error.found}: heads of this kind grow with the number of images",
                "move the defective images out of the data folder and train again",
            ) from error
        return engine

    def _reduced(self, precision: str, golden: Golden) -> tuple[str | None, dict[str, bytes]]:
        """Return why a precision below fp32 fails, or None, and the members of it that change: int8 has a reference of
        its own, other graphs are compared with fp32's.
        """
        own = reference_name(precision)
        try:
            with closing(self._engine(precision)) as engine:
                if own not in self._bundle.members:
                    require_parity(engine, golden, self._bundle.tolerance(precision))
                    return None, {}
                found = [engine.infer(frame) for frame in golden.frames]
        except (ParityFailure, EngineUnavailable) as failure:
            return failure.found, {}
        scores, maps = np.array([of.score for of in found], np.float32), np.stack([of.map for of in found])
        return None, {own: reference_member(replace(golden, scores=scores, maps=maps))}

    def _reference(self, engine: Engine) -> Golden:
        """The golden frames with scores and maps by torch; a map that needs the encoder is the graph's own."""
        head = self._fitted.head
        frames = self._bundle.golden().frames
        scores, maps = [], []
        for frame in frames:
            features = [torch.from_numpy(of).unsqueeze(0) for of in engine.features(frame)]
            grids = self._calibrator.grids(features, head)
            scores.append(float(self._calibrator.scores(grids, head)[0]))
            if any(isinstance(branch, ImageBranch) for branch in self._branches):
                maps.append(engine.infer(frame).map)
            else:
                maps.append(next(self._calibrator.maps(grids, head.map_weights))[0].numpy())
        return Golden(frames, np.array(scores, np.float32), np.stack(maps), self._fitted.calibration.threshold)
