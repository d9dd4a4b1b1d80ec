"""fp16: the encoders of an exported graph compute in half precision between casts, the rest of it stays in fp32."""

from __future__ import annotations

import re

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trainer.export.onnx_graph import modules_of, serialised

ENCODER = re.compile(r"parts\.\d+\.extractor\.encoder")
"""An encoder among the names of the modules around a node."""


def with_half_encoders(fp32: bytes) -> bytes:
    """Return an exported graph with its encoders in fp16.

    Constants of an encoder are rounded to the nearest fp16.  Its input is cast to fp16 once, and its result back.

    Args:
        fp32: a graph from :func:`trainer.export.onnx_graph.export_inspection_graph`.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(fp32))
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    floats = {name for name, tensor in constants.items() if tensor.data_type == TensorProto.FLOAT}
    floats |= {value.name for value in graph.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    elsewhere = {name for node in graph.node if not _in_encoder(node) for name in node.input}
    nodes, halved = [], set[str]()
    for node in graph.node:
        if not _in_encoder(node):
            nodes.append(node)
            continue
        for name in floats.intersection(node.input) - halved:
            if name in constants:
                graph.initializer.append(_half_constant(constants[name]))
            else:
                nodes.append(_cast(name, _half(name), TensorProto.FLOAT16))
            halved.add(name)
        results = floats.intersection(node.output)
        halved |= results
        for names in (node.input, node.output):
            names[:] = [_half(name) if name in floats else name for name in names]
        nodes.append(node)
        nodes += [_cast(_half(name), name, TensorProto.FLOAT) for name in results & elsewhere]
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    graph.CopyFrom(helper.make_graph(nodes, graph.name, graph.input, graph.output, kept))
    return serialised(model)


def _in_encoder(node: onnx.NodeProto) -> bool:
    return ENCODER.search(modules_of(node)) is not None


def _half(name: str) -> str:
    return f"{name}.half"


def _cast(value: str, result: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [value], [result], f"cast_{result}", to=kind)


def _half_constant(tensor: onnx.TensorProto) -> onnx.TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), _half(tensor.name))
