"""The encoder alone, cut out of an exported inspection graph.

Run on single windows, it is what the dense pass must equal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx
from onnx import TensorProto, helper

from engines.base import FEATURES, IMAGES, of_head
from trainer.export.onnx_graph import modules_of, serialised


def cut_out_encoder(inspection: bytes, branch: int) -> bytes:
    """Return the graph of one branch's encoder alone, from images of any number and size to features.

    Its nodes and constants are those of the inspection graph.  That they fit images of other sizes is a property of
    exact encoders: no node holds a length.

    Args:
        inspection: a graph from :func:`trainer.export.onnx_graph.export_inspection_graph`.
        branch: of an exact encoder.

    Returns:
        The serialised ONNX model: uint8 BGR ``[n, h, w, 3]``, not resized, to float32 ``[n, rows, columns, d]``.
    """
    model = onnx.load_from_string(inspection)
    graph, name = model.graph, of_head(FEATURES, branch)
    made_by = {value: node for node in graph.node for value in node.output}
    width = next(value for value in graph.output if value.name == name).type.tensor_type.shape.dim[-1].dim_value
    constants = {tensor.name for tensor in graph.initializer}
    # The features of the whole graph are those of its one image, picked from a batch.
    grid = made_by[name].input[0]
    needed, images = _needed(grid, made_by, constants)
    to_rgb = made_by[images]
    nodes = [
        helper.make_node("Cast", [IMAGES], ["image_values"], "cast_images", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["image_values"], ["image_planes"], "transpose_images", perm=(0, 3, 1, 2)),
        helper.make_node("Gather", ["image_planes", to_rgb.input[1]], [images], to_rgb.name, axis=1),
        *(node for node in graph.node if not needed.isdisjoint(node.output)),
    ]
    nodes[-1].output[0] = FEATURES
    read = {value for node in nodes for value in node.input}
    cut = helper.make_graph(
        nodes,
        graph.name,
        [helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["n", "height", "width", 3])],
        [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["n", "rows", "columns", width])],
        [tensor for tensor in graph.initializer if tensor.name in read],
    )
    graph.CopyFrom(cut)
    return serialised(model)


def _needed(value: str, made_by: Mapping[str, onnx.NodeProto], constants: Collection[str]) -> tuple[set[str], str]:
    """Return the values that a branch computes up to this one, and the one that it computes them from."""
    needed, given, waiting = set[str](), set[str](), [value]
    while waiting:
        name = waiting.pop()
        if name in constants or name in needed:
            continue
        if "'parts." in modules_of(made_by[name]):
            needed.add(name)
            waiting += made_by[name].input
        else:
            given.add(name)
    (images,) = given
    return needed, images
