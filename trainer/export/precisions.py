"""Graphs in less than fp32: each must agree with fp32 on good parts and on pasted ones, or it stays out of the bundle.

They share fp32's head, threshold and promise, so the comparison is that of the promise: held-out scores of all good
parts, computed from the features of the graph in question.
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

from edge_occ.bundle.bundle import graph_name, reference_name
from edge_occ.bundle.loading import DownscalingEngine
from edge_occ.bundle.manifest import Precision
from edge_occ.bundle.tensors import graph_from, reference_member
from engines.base import Graph
from engines.errors import ParityFailure
from engines.onnxruntime import OnnxRuntimeEngine
from engines.parity import TOLERANCE, Golden, relative_error, require_parity
from trainer.augment.paste import paste, sample_cutpaste
from trainer.augment.transforms import colour_jitter
from trainer.calibration.fit_heads import CalibratedHead
from trainer.data.images import read_frames
from trainer.evaluation.metrics import image_auroc
from trainer.export.quantise import quantise

LEAST_AGREEMENT, MOST_AUROC_LOSS = 0.99, 0.005
"""A graph that does worse than fp32 by more than this is not shipped."""

_PASTED_IMAGES, _RANGE_IMAGES = 64, 64
_KEPT = (1, 2, 4)
"""Convolutions left in fp16: the first, the stem, the stem and the first block."""

_AREA, _ASPECT, _JITTER = (0.002, 0.02), 3.3, 0.1
"""Pasted rectangles of a trial: small ones, so that some are near the threshold; aspect and jitter of CutPaste A.2."""


@dataclass(frozen=True)
class Reduced:
    """What came of one precision: the record for the manifest, and the members if it is fit for the bundle."""

    record: Precision
    members: Mapping[str, bytes]


class Trial:
    """Good parts, and some of them with something pasted, as fp32 scores them; others are compared with that.

    Args:
        paths: images of the good parts; something is pasted into evenly spaced ones, 64 at most.
        fp32: graph and head.
        fitted: head, held-out scores and threshold.
        golden: frames of the parity gate and fp32's reference.
        held_out: scores features of the good parts, for each branch, each image by heads of fp32 that had not seen it.
        size: side in pixels that the graph resizes to.
        white: of 16-bit images, see :func:`edge_occ.common.decoding.white_level`.
    """

    def __init__(
        self,
        paths: tuple[Path, ...],
        fp32: Graph,
        fitted: CalibratedHead,
        golden: Golden,
        held_out: Callable[[Sequence[Tensor]], NDArray[np.float64]],
        *,
        size: int,
        white: int | None = None,
    ) -> None:
        self.paths, self.fitted, self.golden, self.size = paths, fitted, golden, size
        self._held_out = held_out
        self.white = white
        with closing(OnnxRuntimeEngine(fp32)) as engine:
            self._pasted = self._pasted_scores(engine)

    def compare(self, graph: Graph) -> Precision:
        """How a graph in another precision does."""
        with closing(OnnxRuntimeEngine(graph)) as engine:
            features = [
                [torch.from_numpy(grid) for grid in engine.features(frame.numpy())]
                for frames in read_frames(self.paths, f"comparing {graph.precision}", size=self.size, white=self.white)
                for frame in frames
            ]
            pasted = self._pasted_scores(engine)
        good, pasted = (
            _finite(scores)
            for scores in (self._held_out([torch.stack(grids) for grids in zip(*features, strict=True)]), pasted)
        )
        expected = self.fitted.as_taken
        found, wanted = np.concatenate((good, pasted)), np.concatenate((expected, self._pasted))
        threshold = self.fitted.calibration.threshold
        # The threshold is one of fp32's own held-out scores, which falls to either side by its last digit.
        margin = TOLERANCE["fp32"] * threshold
        close_call = np.abs(wanted - threshold) <= margin
        return Precision(
            included=True,
            images=len(found),
            agreement=float(np.mean(((found > threshold) == (wanted > threshold)) | close_call)),
            auroc=_auroc(good, pasted),
            auroc_fp32=_auroc(expected, self._pasted),
            score_error=max(
                relative_error(*pair, threshold) for pair in zip(found.tolist(), wanted.tolist(), strict=True)
            ),
            flagged=int((good > threshold + margin).sum()),
            flagged_fp32=int((expected > threshold + margin).sum()),
            reason=None,
        )

    def _pasted_scores(self, engine: OnnxRuntimeEngine) -> NDArray[np.float64]:
        generator = torch.Generator().manual_seed(0)
        spaced = _spaced(self.paths, _PASTED_IMAGES)
        chosen = read_frames(spaced, f"pasting, {engine.precision}", size=self.size, white=self.white)
        return np.array([engine.infer(_with_paste(f, generator).numpy()).score for frames in chosen for f in frames])


def reduce_to_fp16(onnx: bytes, trial: Trial) -> Reduced:
    """Compare the fp16 graph with fp32, on the training images and at the parity gate."""
    graph = graph_from(onnx, "fp16", trial.fitted.member)
    record = trial.compare(graph)
    reason = objection(record)
    try:
        with closing(DownscalingEngine(OnnxRuntimeEngine(graph), trial.size)) as engine:
            require_parity(engine, trial.golden, TOLERANCE["fp16"])
    except ParityFailure as failure:
        reason = reason or failure.found
    return _outcome(record, reason, {graph_name("fp16"): onnx})


def reduce_to_int8(fp16: bytes, trial: Trial) -> Reduced:
    """Quantise as much of the fp16 graph's encoder as agrees with fp32.

    Convolutions are left in fp16 from the front until it does; the first one always is.
    """
    head = trial.fitted.member
    for kept in _KEPT:
        title = f"int8 ranges, {kept} convolutions left in fp16"
        ranges = read_frames(_spaced(trial.paths, _RANGE_IMAGES), title, size=trial.size, white=trial.white)
        frames = (frame.numpy() for chunk in ranges for frame in chunk)
        onnx = quantise(fp16, frames, graph_from(fp16, "fp16", head).head, kept)
        graph = graph_from(onnx, "int8", head)
        record = trial.compare(graph)
        reason = objection(record)
        if reason is None:
            break
    reference = reference_member(_reference(graph, trial))
    return _outcome(record, reason, {graph_name("int8"): onnx, reference_name("int8"): reference})


def objection(record: Precision) -> str | None:
    """What speaks against shipping a graph, if anything does."""
    if record.agreement < LEAST_AGREEMENT:
        return f"{record.agreement:.1%} of its verdicts are those of fp32, fewer than {LEAST_AGREEMENT:.0%}"
    if record.auroc_fp32 - record.auroc > MOST_AUROC_LOSS:
        return f"its AUROC is {record.auroc:.4f}, that of fp32 {record.auroc_fp32:.4f}"
    return None


def _outcome(record: Precision, reason: str | None, members: Mapping[str, bytes]) -> Reduced:
    if reason is None:
        return Reduced(record, members)
    return Reduced(record.model_copy(update={"included": False, "reason": reason}), {})


def _reference(graph: Graph, trial: Trial) -> Golden:
    golden = trial.golden
    with closing(DownscalingEngine(OnnxRuntimeEngine(graph), trial.size)) as engine:
        results = [engine.infer(frame) for frame in golden.frames]
    scores = np.array([result.score for result in results], dtype=np.float32)
    return Golden(golden.frames, scores, np.stack([result.map for result in results]), golden.threshold)


def _finite(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """An overflow of fp16 is as wrong as a score can be; as a NaN it would pass for normal."""
    return np.where(np.isfinite(scores), scores, float(np.finfo(np.float32).max))


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
