"""A graph of three encoders, exported once for all tests of what is made from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trainer.config import TrainConfig
from trainer.encoders.build import make_encoder
from trainer.export.onnx_graph import export_inspection_graph
from trainer.graph.branches import make_branch
from trainer.graph.inspection import InspectionGraph
from trainer.heads.fused import FusedHead
from trainer.heads.gaussian import GaussianHead

HEAD = {"dim": 8, "scope": "shared"}
CONFIG = TrainConfig.model_validate(
    {
        "input": {"size": 96},
        "encoder": {"width": 4, "dim": 16},
        "head": HEAD,
        "further_branches": [
            {"encoder": {"name": "lite0", "blocks": [0, 1]}, "pretext": {"name": "none"}, "head": HEAD},
            {"encoder": {"width": 4, "dim": 16, "stride": 4}, "head": HEAD},
        ],
    }
)


class ThreeEncoders(NamedTuple):
    """A dense encoder, Lite0 and a dense encoder of stride 4, on images of 96 pixels."""

    graph: InspectionGraph
    inputs: dict[str, NDArray[np.float32]]
    fp32: bytes


@pytest.fixture(scope="session")
def three_encoders() -> ThreeEncoders:
    torch.manual_seed(0)
    branches = []
    for branch in CONFIG.branches:
        encoder = make_encoder(branch.encoder, (96, 96)).eval()
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # or convolutions would have no bias
                module.running_mean.normal_(0, 0.1)
        encoder.fuse()
        branches.append(make_branch(encoder, branch, (96, 96)))
    graph = InspectionGraph(branches, [["gaussian"]] * 3, (96, 96)).eval()
    part = GaussianHead(torch.zeros(1, 1, 8), torch.eye(8).view(1, 1, 8, 8))
    head = FusedHead((part, part, part), torch.ones(3), torch.ones(3))
    inputs = {name: tensor.numpy() for name, tensor in head.tensors().items()}
    return ThreeEncoders(graph, inputs, export_inspection_graph(graph, head))
