"""Assembly of a bundle: export in every precision, parity gates, members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.bundle.bundle import ENCODER_GRAPH, GOLDEN, HEAD, PREVIEW, graph_name
from edge_occ.bundle.pre_stage import PreStage, PreStageEngine
from edge_occ.bundle.provenance import Precision
from edge_occ.bundle.tensors import golden_from, golden_member, graph_from
from edge_occ.output.preview import preview
from engines.onnxruntime import OnnxRuntimeEngine
from engines.parity import TOLERANCE, Parity, require_parity
from trainer.calibration.fit_heads import CalibratedHead
from trainer.config import ExportConfig
from trainer.data.images import NormalImages, read_frames
from trainer.export.encoder_graph import cut_out_encoder
from trainer.export.golden_frames import cropped, golden_frames
from trainer.export.half import with_half_encoders
from trainer.export.onnx_graph import export_inspection_graph, reference
from trainer.export.precisions import Fp32Baseline, reduce_to_fp16, reduce_to_int8
from trainer.graph.inspection import InspectionGraph, exact_branch


@dataclass(frozen=True)
class Assembled:
    """The content of a bundle.

    Attributes:
        members: all members but the model card, by name.
        precisions: comparison of each precision below fp32 with fp32, included or not.
        tolerances: tolerance of the parity gate for each included precision.
        parity: the fp32 graph in ONNX Runtime compared with torch.
    """

    members: Mapping[str, bytes]
    precisions: Mapping[str, Precision]
    tolerances: Mapping[str, float]
    parity: Parity


def assemble(
    graph: InspectionGraph,
    fitted: CalibratedHead,
    data: NormalImages,
    config: ExportConfig,
    held_out: Callable[[Sequence[Tensor]], NDArray[np.float64]],
) -> Assembled:
    """Export the graphs, pass them through the parity gate and collect the members.

    Args:
        graph: the graph on the CPU, in evaluation mode, with fused encoders.
        fitted: head and threshold.
        data: the training images.
        config: the precisions to export.
        held_out: maps the features of all training images, ``[n, rows, columns, d]`` for each branch, to scores
            ``[n]``; each image is scored by fp32 heads that were fitted without it.

    Raises:
        ParityFailure: the exported fp32 graph does not reproduce the scores of torch.
    """
    threshold = fitted.calibration.threshold
    stage = data.stage(graph.preprocess.size)
    golden = reference(graph, stage, fitted.head, golden_frames(_some_frames(data, stage), stage), threshold)
    fp32 = export_inspection_graph(graph, fitted.head)
    members = {
        graph_name("fp32"): fp32,
        HEAD: fitted.member,
        GOLDEN: golden_member(golden),
    }
    exact = exact_branch(graph.branches)
    if exact is not None:
        members[ENCODER_GRAPH] = cut_out_encoder(fp32, exact)
    # The gate reads the bytes that go into the bundle, so it also covers serialisation.
    exported = graph_from(members[graph_name("fp32")], "fp32", members[HEAD])
    golden = golden_from(members[GOLDEN], threshold)
    prepared = stage.golden(golden)
    with closing(OnnxRuntimeEngine(exported)) as engine:
        parity = require_parity(engine, prepared, TOLERANCE["fp32"])
        # Golden frames are tiles where frames are cut.
        members[PREVIEW] = preview(PreStageEngine(engine, replace(stage, tiling=None)), golden, fitted.calibration)
    reduced = {}
    if config.fp16 or config.int8:
        baseline = Fp32Baseline(data.paths, exported, fitted, prepared, held_out, stage=stage, white=data.traits.white)
        half = with_half_encoders(fp32)
        if config.fp16:
            reduced["fp16"] = reduce_to_fp16(half, baseline)
        if config.int8:
            reduced["int8"] = reduce_to_int8(half, baseline)
    for result in reduced.values():
        members.update(result.members)
    return Assembled(
        members,
        {precision: result.record for precision, result in reduced.items()},
        {precision: TOLERANCE[precision] for precision in TOLERANCE if graph_name(precision) in members},
        parity,
    )


def _some_frames(data: NormalImages, stage: PreStage) -> list[Tensor]:
    """Return some images, or a tile of each, another one each time."""
    step = max(1, len(data) // 6)
    batches = read_frames(data.paths[::step][:6], "golden frames", white=data.traits.white)
    tiles = (stage.cut(frame.numpy()) for frames in batches for frame in frames)
    # A copy, because a view would keep the whole frame in memory.
    return [cropped(torch.from_numpy(of_frame[i % stage.tiles]), stage).clone() for i, of_frame in enumerate(tiles)]
