"""int8 of a graph of several encoders: what is quantised of each."""

import numpy as np
import onnx
import pytest

from engines.base import Graph
from engines.onnxruntime import OnnxRuntimeEngine
from trainer.export.half import with_half_encoders
from trainer.export.quantise import quantise


@pytest.fixture(scope="module")
def fp16(three_encoders):
    return with_half_encoders(three_encoders.fp32)


def frames(n):
    generator = np.random.default_rng(7)
    return [generator.integers(0, 256, (120, 100, 3), dtype=np.uint8) for _ in range(n)]


def encoder_of(node):
    """Place of the branch that a node is from, by the names of modules that the exporter leaves."""
    scopes = next(prop.value for prop in node.metadata_props if prop.key == "pkg.torch.onnx.name_scopes")
    return next(i for i in range(3) if f"parts.{i}.extractor.encoder" in scopes)


@pytest.mark.parametrize("kept", [1, 2])
def test_the_first_convolutions_of_each_encoder_stay_fp16(fp16, three_encoders, kept):
    inputs = three_encoders.inputs
    int8 = quantise(fp16, frames(2), inputs, kept)
    found = onnx.load_from_string(int8).graph.node
    dequantised = {name for node in found if node.op_type == "DequantizeLinear" for name in node.output}
    quantised = {node.name: set(node.input[:2]) <= dequantised for node in found if node.op_type == "Conv"}
    encoders = ([], [], [])
    for node in onnx.load_from_string(fp16).graph.node:
        if node.op_type == "Conv":
            encoders[encoder_of(node)].append(quantised.pop(node.name))
    assert not quantised
    # Dense: two of the stem, two and three of its blocks, the last one; Lite0: the stem, two and three of its blocks
    assert [len(convolutions) for convolutions in encoders] == [8, 6, 8]
    for convolutions in encoders:
        assert convolutions == [False] * kept + [True] * (len(convolutions) - kept)
    # Both encoders compute what they did in fp16, but for the rounding.
    rough, fine = (OnnxRuntimeEngine(Graph(content, "int8", inputs)) for content in (int8, fp16))
    for grids in zip(rough.features(frames(1)[0]), fine.features(frames(1)[0]), strict=True):
        error = np.sqrt(np.mean(np.square(grids[0] - grids[1]))) / grids[1].std()
        assert 0 < error < 0.4
