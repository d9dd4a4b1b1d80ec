"""int8 of a graph of several encoders: what is quantised of each."""

import numpy as np
import onnx
import pytest
import torch

from engines.base import Graph
from engines.onnxruntime import OnnxRuntimeEngine
from trainer.config import TrainConfig
from trainer.encoders.build import make_encoder
from trainer.export.onnx_graph import export_inspection_graph
from trainer.export.quantise import quantise
from trainer.graph.branches import make_branch
from trainer.graph.inspection import InspectionGraph
from trainer.heads.fused import FusedHead
from trainer.heads.gaussian import GaussianHead

CONFIG = TrainConfig.model_validate(
    {
        "input": {"size": 96},
        "encoder": {"width": 4, "dim": 16},
        "head": {"dim": 8, "scope": "shared"},
        "further_branches": [
            {
                "encoder": {"name": "lite0", "blocks": [0, 1]},
                "pretext": {"name": "none"},
                "head": {"dim": 8, "scope": "shared"},
            }
        ],
    }
)


@pytest.fixture(scope="module")
def head():
    part = GaussianHead(torch.zeros(1, 1, 8), torch.eye(8).view(1, 1, 8, 8))
    return FusedHead((part, part), torch.ones(2), torch.ones(2))


@pytest.fixture(scope="module")
def fp16(head):
    torch.manual_seed(0)
    branches = []
    for branch in CONFIG.branches:
        encoder = make_encoder(branch.encoder, (96, 96)).eval()
        encoder.fuse()
        branches.append(make_branch(encoder, branch, (96, 96)))
    return export_inspection_graph(InspectionGraph(branches, [["gaussian"]] * 2, (96, 96)).eval(), head, half=True)


def frames(n):
    generator = np.random.default_rng(7)
    return [generator.integers(0, 256, (120, 100, 3), dtype=np.uint8) for _ in range(n)]


def encoder_of(node):
    """Place of the branch that a node is from, by the names of modules that the exporter leaves."""
    scopes = next(prop.value for prop in node.metadata_props if prop.key == "pkg.torch.onnx.name_scopes")
    return next(i for i in (0, 1) if f"parts.{i}.extractor.encoder" in scopes)


@pytest.mark.parametrize("kept", [1, 2])
def test_the_first_convolutions_of_each_encoder_stay_fp16(fp16, head, kept):
    inputs = {name: tensor.numpy() for name, tensor in head.tensors().items()}
    int8 = quantise(fp16, frames(2), inputs, kept)
    found = onnx.load_from_string(int8).graph.node
    dequantised = {name for node in found if node.op_type == "DequantizeLinear" for name in node.output}
    quantised = {node.name: set(node.input[:2]) <= dequantised for node in found if node.op_type == "Conv"}
    encoders = ([], [])
    for node in onnx.load_from_string(fp16).graph.node:
        if node.op_type == "Conv":
            encoders[encoder_of(node)].append(quantised.pop(node.name))
    assert not quantised
    # dense: two of the stem, two and three of its blocks, the last one; lite0: the stem, two and three of its blocks
    assert [len(convolutions) for convolutions in encoders] == [8, 6]
    for convolutions in encoders:
        assert convolutions == [False] * kept + [True] * (len(convolutions) - kept)
    # Both encoders compute what they did in fp16, but for the rounding.
    rough, fine = (OnnxRuntimeEngine(Graph(content, "int8", inputs)) for content in (int8, fp16))
    for grids in zip(rough.features(frames(1)[0]), fine.features(frames(1)[0]), strict=True):
        error = np.sqrt(np.mean(np.square(grids[0] - grids[1]))) / grids[1].std()
        assert 0 < error < 0.4
