"""fp16 and int8 graphs: each must agree with fp32 on good and pasted images, or it is left out of the bundle.

They share the head, threshold and guarantee of fp32.  So they are compared by the scores behind the guarantee: held-out
scores of all good parts, computed from the features of the graph under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.bundle.bundle import graph_name, reference_name
from edge_occ.bundle.pre_stage import PreStage
from edge_occ.bundle.provenance import Precision
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

MIN_AGREEMENT, MAX_AUROC_LOSS = 0.99, 0.005
"""Limits of the share of equal verdicts and of the loss of AUROC; a graph beyond them is not included."""

_PASTED_IMAGES, _RANGE_IMAGES = 64, 64
_KEPT = (1, 2, 4)
"""Numbers of convolutions left in fp16: the first, the stem, the stem and the first block."""

_AREA, _ASPECT, _JITTER = (0.002, 0.02), 3.3, 0.1
"""Area, aspect and jitter of the pasted rectangles.  They are small, so that some scores are near the threshold; aspect
and jitter are from appendix A.2 of the CutPaste paper."""


@dataclass(frozen=True)
class ReducedGraph:
    """A reduced precision: the record for the manifest, and the members, empty if the graph is not included."""

    record: Precision
    members: Mapping[str, bytes]


class Fp32Baseline:
    """Scores of the fp32 graph on good and pasted images, with which other precisions are compared.

    Args:
        paths: images of the good parts; up to 64 evenly spaced ones also get a pasted patch.
        fp32: the fp32 graph and its head.
        fitted: head, held-out scores and threshold.
        golden: frames of the parity gate as the graph gets them, and the reference of fp32.
        held_out: maps the features of all good parts, for each branch, to scores; each image is scored by fp32 heads
            that were fitted without it.
        stage: what is done before the graph.  Where it cuts tiles, the score of a good part is the highest of them, and
            those of pasted images are the tiles' own.
        white: white level of 16-bit images, see :func:`edge_occ.common.decoding.white_level`.

    Attributes:
        pasted: scores of the fp32 graph on the images with a pasted patch ``[m]``.
    """

    def __init__(
        self,
        paths: tuple[Path, ...],
        fp32: Graph,
        fitted: CalibratedHead,
        golden: Golden,
        held_out: Callable[[Sequence[Tensor]], NDArray[np.float64]],
        *,
        stage: PreStage,
        white: int | None = None,
    ) -> None:
        self.paths, self.fitted, self.golden, self.stage = paths, fitted, golden, stage
        self._held_out = held_out
        self.white = white
        with closing(OnnxRuntimeEngine(fp32)) as engine:
            self.pasted = self.pasted_scores(engine)

    def compare(self, graph: Graph) -> Precision:
        """Compare a graph in another precision with fp32."""
        with closing(OnnxRuntimeEngine(graph)) as engine:
            features = [
                [torch.from_numpy(grid) for grid in engine.features(frame.numpy())]
                for frames in self.read(self.paths, f"comparing {graph.precision}")
                for frame in frames
            ]
            pasted = self.pasted_scores(engine)
        good, pasted = (
            _finite(scores)
            for scores in (self._held_out([torch.stack(grids) for grids in zip(*features, strict=True)]), pasted)
        )
        expected = self.fitted.as_taken
        found, wanted = np.concatenate((good, pasted)), np.concatenate((expected, self.pasted))
        threshold = self.fitted.calibration.threshold
        # The threshold is one of fp32's held-out scores, which rounding can move to either side.
        margin = TOLERANCE["fp32"] * threshold
        close_call = np.abs(wanted - threshold) <= margin
        return Precision(
            included=True,
            images=len(found),
            agreement=float(np.mean(((found > threshold) == (wanted > threshold)) | close_call)),
            auroc=_auroc(good, pasted),
            auroc_fp32=_auroc(expected, self.pasted),
            score_error=max(
                relative_error(*pair, threshold) for pair in zip(found.tolist(), wanted.tolist(), strict=True)
            ),
            flagged=int((good > threshold + margin).sum()),
            flagged_fp32=int((expected > threshold + margin).sum()),
            reason=None,
        )

    def read(self, paths: tuple[Path, ...], title: str) -> Iterator[Tensor]:
        """Read images, or tiles, as the graph gets them, in batches."""
        return read_frames(paths, title, stage=self.stage, white=self.white)

    def pasted_scores(self, engine: OnnxRuntimeEngine) -> NDArray[np.float64]:
        """Score evenly spaced images with a pasted patch, the same ones at every call ``[m]``."""
        generator = torch.Generator().manual_seed(0)
        spaced = _spaced(self.paths, _PASTED_IMAGES)
        chosen = self.read(spaced, f"pasting, {engine.precision}")
        return np.array([engine.infer(_with_paste(f, generator).numpy()).score for frames in chosen for f in frames])


def reduce_to_fp16(onnx: bytes, baseline: Fp32Baseline) -> ReducedGraph:
    """Compare the fp16 graph with fp32, on the training images and at the parity gate."""
    graph = graph_from(onnx, "fp16", baseline.fitted.member)
    record = baseline.compare(graph)
    reason = objection(record)
    try:
        with closing(OnnxRuntimeEngine(graph)) as engine:
            require_parity(engine, baseline.golden, TOLERANCE["fp16"])
    except ParityFailure as failure:
        reason = reason or failure.found
    return _result(record, reason, {graph_name("fp16"): onnx})


def reduce_to_int8(fp16: bytes, baseline: Fp32Baseline) -> ReducedGraph:
    """Quantise as much of the fp16 graph's encoder as agrees with fp32.

    The first convolution stays in fp16; more of the first ones do if the graph does not agree otherwise.
    """
    head = baseline.fitted.member
    for kept in _KEPT:
        title = f"int8 ranges, {kept} convolutions left in fp16"
        ranges = baseline.read(_spaced(baseline.paths, _RANGE_IMAGES), title)
        frames = (frame.numpy() for chunk in ranges for frame in chunk)
        onnx = quantise(fp16, frames, graph_from(fp16, "fp16", head).head, kept)
        graph = graph_from(onnx, "int8", head)
        record = baseline.compare(graph)
        reason = objection(record)
        if reason is None:
            break
    reference = reference_member(_reference(graph, baseline))
    return _result(record, reason, {graph_name("int8"): onnx, reference_name("int8"): reference})


def objection(record: Precision) -> str | None:
    """Return why a graph is not included, or ``None`` if it is."""
    if record.agreement < MIN_AGREEMENT:
        return f"{record.agreement:.1%} of its verdicts equal those of fp32, less than {MIN_AGREEMENT:.0%}"
    if record.auroc_fp32 - record.auroc > MAX_AUROC_LOSS:
        return f"its AUROC is {record.auroc:.4f}, that of fp32 is {record.auroc_fp32:.4f}"
    return None


def _result(record: Precision, reason: str | None, members: Mapping[str, bytes]) -> ReducedGraph:
    if reason is None:
        return ReducedGraph(record, members)
    return ReducedGraph(record.model_copy(update={"included": False, "reason": reason}), {})


def _reference(graph: Graph, baseline: Fp32Baseline) -> Golden:
    golden = baseline.golden
    with closing(OnnxRuntimeEngine(graph)) as engine:
        results = [engine.infer(frame) for frame in golden.frames]
    scores = np.array([result.score for result in results], dtype=np.float32)
    return Golden(golden.frames, scores, np.stack([result.map for result in results]), golden.threshold)


def _finite(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace non-finite scores by the highest: an fp16 overflow must not count as normal, as a NaN would."""
    return np.where(np.isfinite(scores), scores, float(np.finfo(np.float32).max))


def _auroc(good: NDArray[np.float64], pasted: NDArray[np.float64]) -> float:
    defective = np.repeat([False, True], [len(good), len(pasted)])
    auroc = image_auroc(defective, np.concatenate((good, pasted)))
    if auroc is None:
        raise ValueError("good and pasted images are both needed")
    return auroc


def _with_paste(frame: Tensor, generator: torch.Generator) -> Tensor:
    """Paste a jittered patch into a frame, uint8 BGR ``[h, w, 3]``."""
    image = frame.permute(2, 0, 1).unsqueeze(0)
    patches = colour_jitter(image.flip(1).float() / 255, _JITTER, generator).flip(1).mul(255).round().clamp(0, 255)
    rectangle = sample_cutpaste(1, (frame.shape[0], frame.shape[1]), _AREA, _ASPECT, generator)
    pasted, _ = paste(image, patches.byte(), rectangle)
    return pasted[0].permute(1, 2, 0).contiguous()


def _spaced(paths: Sequence[Path], max_count: int) -> tuple[Path, ...]:
    chosen = np.linspace(0, len(paths) - 1, min(max_count, len(paths))).round().astype(int)
    return tuple(paths[i] for i in chosen)
