"""Graphs in less than fp32: each must agree with fp32 on good parts and on pasted ones, or it stays out of the bundle.

fp16 changes features so little that it shares fp32's head and threshold.  int8 does not: its rounding, small as it is,
is large where a part hardly varies from image to image, and a head that never saw it takes it for a defect.  So the
int8 graph has a head of its own, fitted and calibrated on the features that it computes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.bundle import GOLDEN, HEAD, graph_name, own_name
from edge_occ.manifest import Precision
from edge_occ.members import graph_from, reference_member
from engines.base import Graph
from engines.cpu import OnnxRuntimeEngine
from engines.errors import ParityFailure
from engines.parity import Golden, require_parity
from trainer.augment import colour_jitter
from trainer.data import read_frames
from trainer.metrics import image_auroc
from trainer.paste import paste, sample_cutpaste
from trainer.quantise import quantise
from trainer.stage2 import CalibratedHead

TOLERANCE = {"fp32": 1e-3, "fp16": 3e-2, "int8": 1e-1}
"""Largest relative error of scores and map values at the parity gate.  The head multiplies rounding by the square of
the whitening's condition.  fp32: ONNX Runtime on x86-64 was seen within 2e-6 (scores) and 3e-5 (maps) of torch, other
runtimes need room.  fp16: within 5e-3 of fp32 on real images.  int8 is compared with itself on the machine of
the training; a runtime that rounds a sum the other way moves a feature by one step of its scale."""

LEAST_AGREEMENT, MOST_AUROC_LOSS = 0.99, 0.005
"""A graph that does worse than fp32 by more than this is not shipped."""

_TRIAL_IMAGES, _RANGE_IMAGES = 64, 64
_AREA, _ASPECT, _JITTER = (0.002, 0.02), 3.3, 0.1
"""Pasted rectangles of a trial: small ones, so that some are near the threshold; aspect and jitter of CutPaste A.2."""


@dataclass(frozen=True)
class Reduced:
    """What came of one precision: the record for the manifest, and the members if it is fit for the bundle."""

    record: Precision
    members: Mapping[str, bytes]


class Trial:
    """Good parts and the same with something pasted, and how fp32 scores them.

    Args:
        paths: images of good parts; evenly spaced ones are taken, 64 at most.
        fp32: graph and head.
        fitted: head and threshold of fp32.
    """

    def __init__(self, paths: Sequence[Path], fp32: Graph, fitted: CalibratedHead) -> None:
        self._paths = _spaced(paths, _TRIAL_IMAGES)
        self.fitted = fitted
        self.good, self.pasted = self.scores(fp32)

    def scores(self, graph: Graph, *, pasted_only: bool = False) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Image scores of the good parts ``[k]``, or none, and of the pasted ones ``[k]``."""
        good, pasted = [], []
        generator = torch.Generator().manual_seed(0)
        with closing(OnnxRuntimeEngine(graph)) as engine:
            for frames in read_frames(self._paths, f"comparing {graph.precision}"):
                for frame in frames:
                    pasted.append(engine.infer(_with_paste(frame, generator).numpy()).score)
                    if not pasted_only:
                        good.append(engine.infer(frame.numpy()).score)
        return np.array(good), np.array(pasted)


def reduce_to_fp16(onnx: bytes, trial: Trial, golden: Golden) -> Reduced:
    """Compare the fp16 graph with fp32, head and threshold being the same."""
    graph = graph_from(onnx, "fp16", trial.fitted.member)
    good, pasted = trial.scores(graph)
    threshold = trial.fitted.calibration.threshold
    found, wanted = np.concatenate((good, pasted)), np.concatenate((trial.good, trial.pasted))
    record = Precision(
        included=True,
        images=len(found),
        agreement=float(np.mean((found > threshold) == (wanted > threshold))),
        auroc=_auroc(good, pasted),
        auroc_fp32=_auroc(trial.good, trial.pasted),
        score_error=float(np.abs(found / wanted - 1).max()),
        calibration=None,
        reason=None,
    )
    reason = _objection(record)
    try:
        with closing(OnnxRuntimeEngine(graph)) as engine:
            require_parity(engine, golden, TOLERANCE["fp16"])
    except ParityFailure as failure:
        reason = reason or failure.found
    return _outcome(record, reason, {graph_name("fp16"): onnx})


def reduce_to_int8(
    fp16: bytes,
    trial: Trial,
    golden: Golden,
    paths: tuple[Path, ...],
    refit: Callable[[Tensor], CalibratedHead],
) -> Reduced:
    """Quantise the fp16 graph, give it a head of its own, and compare it with fp32.

    The good parts compared are all held-out scores of both, each against its own threshold.

    Args:
        fp16: the ONNX graph.
        trial: how fp32 does.
        golden: frames of the parity gate.
        paths: images of good parts.
        refit: stage 2, on features ``[n, rows, columns, d]``.
    """
    fp32 = trial.fitted
    ranges = (frame.numpy() for frames in read_frames(_spaced(paths, _RANGE_IMAGES), "int8 ranges") for frame in frames)
    onnx = quantise(fp16, ranges, graph_from(fp16, "fp16", fp32.member).head)
    with closing(OnnxRuntimeEngine(graph_from(onnx, "int8", fp32.member))) as engine:
        features = [
            torch.from_numpy(engine.features(frame.numpy()))
            for frames in read_frames(paths, "int8 features")
            for frame in frames
        ]
    own = refit(torch.stack(features))
    graph = graph_from(onnx, "int8", own.member)
    _, pasted = trial.scores(graph, pasted_only=True)
    flagged, wanted = _flagged(own, pasted), _flagged(fp32, trial.pasted)
    record = Precision(
        included=True,
        images=len(flagged),
        agreement=float(np.mean(flagged == wanted)),
        auroc=_auroc(own.held_out, pasted),
        auroc_fp32=_auroc(fp32.held_out, trial.pasted),
        score_error=None,
        calibration=own.calibration,
        reason=None,
    )
    members = {
        graph_name("int8"): onnx,
        own_name(HEAD, "int8"): own.member,
        own_name(GOLDEN, "int8"): reference_member(_reference(graph, golden, own.calibration.threshold)),
    }
    return _outcome(record, _objection(record), members)


def _outcome(record: Precision, reason: str | None, members: Mapping[str, bytes]) -> Reduced:
    if reason is None:
        return Reduced(record, members)
    return Reduced(record.model_copy(update={"included": False, "reason": reason}), {})


def _objection(record: Precision) -> str | None:
    if record.agreement < LEAST_AGREEMENT:
        return f"{record.agreement:.1%} of its verdicts are those of fp32, fewer than {LEAST_AGREEMENT:.0%}"
    if record.auroc_fp32 - record.auroc > MOST_AUROC_LOSS:
        return f"its AUROC is {record.auroc:.4f}, that of fp32 {record.auroc_fp32:.4f}"
    return None


def _reference(graph: Graph, golden: Golden, threshold: float) -> Golden:
    with closing(OnnxRuntimeEngine(graph)) as engine:
        results = [engine.infer(frame) for frame in golden.frames]
    scores = np.array([result.score for result in results], dtype=np.float32)
    return Golden(golden.frames, scores, np.stack([result.map for result in results]), threshold)


def _flagged(fitted: CalibratedHead, pasted: NDArray[np.float64]) -> NDArray[np.bool_]:
    flagged: NDArray[np.bool_] = np.concatenate((fitted.held_out, pasted)) > fitted.calibration.threshold
    return flagged


def _auroc(good: NDArray[np.float64], pasted: NDArray[np.float64]) -> float:
    defective = np.repeat([False, True], [len(good), len(pasted)])
    auroc = image_auroc(defective, np.concatenate((good, pasted)))
    if auroc is None:
        raise ValueError("good and pasted images are both needed")
    return auroc


def _with_paste(frame: Tensor, generator: torch.Generator) -> Tensor:
    """CutPaste on a frame, uint8 BGR ``[h, w, 3]``."""
    image = frame.permute(2, 0, 1).unsqueeze(0)
    patches = colour_jitter(image.flip(1).float() / 255, _JITTER, generator).flip(1).mul(255).round().clamp(0, 255)
    rectangle = sample_cutpaste(1, (frame.shape[0], frame.shape[1]), _AREA, _ASPECT, generator)
    pasted, _ = paste(image, patches.byte(), rectangle)
    return pasted[0].permute(1, 2, 0).contiguous()


def _spaced(paths: Sequence[Path], most: int) -> tuple[Path, ...]:
    chosen = np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int)
    return tuple(paths[i] for i in chosen)
