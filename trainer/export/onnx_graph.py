"""Export of the inspection graph to ONNX, and the reference scores that every engine must reproduce."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from torch import Tensor

from edge_occ.bundle.pre_stage import PreStage
from engines.base import FEATURES, FRAME, MAP, SCORE, of_head
from engines.parity import Golden
from trainer.graph.inspection import InspectionGraph
from trainer.heads.fused import FusedHead

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata of a node: the names of the modules around it, by which quantisation finds the encoder."""

OPSET = 19
"""The first opset whose Q/DQ nodes accept fp16; TensorRT 10.3 reads opsets up to 20."""


def export_inspection_graph(graph: InspectionGraph, head: FusedHead) -> bytes:
    """Export the whole graph to ONNX, with dynamic frame height and width and the heads' tensors as inputs.

    Args:
        graph: the graph on the CPU, in evaluation mode, with fused encoders.
        head: provides the shapes of its tensors.

    Returns:
        The serialised ONNX model.
    """
    example = torch.zeros(96, 80, 3, dtype=torch.uint8)
    tensors = head.tensors()
    height, width = torch.export.Dim("height", min=2), torch.export.Dim("width", min=2)
    outputs = [SCORE, MAP, *(of_head(FEATURES, i) for i in range(len(graph.branches)))]
    # The exporter's own deprecation warnings and progress do not concern the user.
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        logging.getLogger("onnxscript").setLevel(logging.ERROR)
        program = torch.onnx.export(
            graph.eval(),
            (example, list(tensors.values())),
            input_names=[_MARK + name for name in (FRAME, *tensors)],
            output_names=[_MARK + name for name in outputs],
            dynamic_shapes={"frame": {0: height, 1: width}, "head": [None] * len(tensors)},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            external_data=False,
            # Unoptimised graphs have operators that edge_occ.bundle.graphs refuses.
            optimize=True,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    _rename_inputs_and_outputs(model)
    _take_shape_after_cast(model)
    _remove_metadata(model)
    return serialised(model)


def serialised(model: onnx.ModelProto) -> bytes:
    """Check a model and return it as bytes."""
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def modules_of(node: onnx.NodeProto) -> str:
    """Return the names of the modules around a node; empty for a node that the exporter did not write."""
    return next((note.value for note in node.metadata_props if note.key == NAME_SCOPES), "")


def reference(
    graph: InspectionGraph, stage: PreStage, head: FusedHead, frames: Sequence[Tensor], threshold: float
) -> Golden:
    """Compute the reference of the parity gate in torch from prepared frames; the frames are stored unchanged."""
    with torch.inference_mode():
        prepared = [torch.from_numpy(stage.prepared(frame.numpy())) for frame in frames]
        results = [graph(frame, list(head.tensors().values()))[:2] for frame in prepared]
    return Golden(
        [frame.numpy() for frame in frames],
        np.array([float(score) for score, _ in results], dtype=np.float32),
        np.stack([score_map.numpy() for _, score_map in results]),
        threshold,
    )


def _remove_metadata(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes but the names of modules: its stack traces hold paths of the training machine."""
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        kept = [note for note in part.metadata_props if note.key == NAME_SCOPES]
        part.ClearField("metadata_props")
        part.metadata_props.extend(kept)


_MARK, _INNER = "outer:", "inner:"


def _rename_inputs_and_outputs(model: onnx.ModelProto) -> None:
    """Remove the mark from the names of inputs and outputs.

    The exporter names inner values after their operators, such as ``mean``, without checking for an input of the same
    name.  So inputs and outputs are exported with a mark; here it is removed, and inner values with the same name get a
    prefix.
    """
    values = (*model.graph.input, *model.graph.output)
    outer: dict[str, str] = {value.name: value.name.removeprefix(_MARK) for value in values}
    taken = set(outer.values())

    def rename(name: str) -> str:
        return outer.get(name, _INNER + name if name in taken else name)

    for node in model.graph.node:
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
    for value in (*values, *model.graph.value_info, *model.graph.initializer):
        value.name = rename(value.name)


def _take_shape_after_cast(model: onnx.ModelProto) -> None:
    """Take the frame's shape after its cast to float: TensorRT 10 guarantees only casts for uint8 tensors."""
    nodes = list(model.graph.node)
    cast = next((node for node in nodes if node.op_type == "Cast" and node.input[0] == FRAME), None)
    if cast is None:
        return
    for node in nodes:
        if node.op_type == "Shape" and node.input[0] == FRAME:
            node.input[0] = cast.output[0]
    nodes.remove(cast)
    del model.graph.node[:]
    model.graph.node.extend([cast, *nodes])
