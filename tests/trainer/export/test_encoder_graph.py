"""The encoder alone, cut out of the whole graph."""

import numpy as np
import onnx
import pytest
import torch

from edge_occ.bundle.graphs.check import check_encoder_graph
from engines.base import FEATURES, FRAME, IMAGES, Graph
from engines.onnxruntime import EncoderRunner, OnnxRuntimeEngine
from trainer.export.encoder_graph import cut_out_encoder
from trainer.graph.preprocess import to_rgb


def pictures(n, size):
    return np.random.default_rng(n).integers(0, 256, (n, *size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def encoders(three_encoders):
    """Of the two exact branches, by their place."""
    return {branch: cut_out_encoder(three_encoders.fp32, branch) for branch in (0, 2)}


@pytest.mark.parametrize("branch", [0, 2])
@pytest.mark.parametrize(("n", "size"), [(1, (64, 64)), (3, (96, 96)), (2, (96, 131))])
def test_an_encoder_alone_takes_images_of_any_number_and_size(three_encoders, encoders, branch, n, size):
    images = pictures(n, size)
    with torch.inference_mode():
        rgb = to_rgb(torch.from_numpy(images).float().permute(0, 3, 1, 2))
        expected = three_encoders.graph.branches[branch].extractor(rgb)
    found = EncoderRunner(encoders[branch]).features(images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("branch", [0, 2])
def test_an_encoder_alone_has_the_features_of_the_whole_graph(three_encoders, encoders, branch):
    (image,) = pictures(1, (96, 96))
    whole = OnnxRuntimeEngine(Graph(three_encoders.fp32, "fp32", three_encoders.inputs)).features(image)[branch]
    np.testing.assert_allclose(EncoderRunner(encoders[branch]).features(image[None])[0], whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("branch", "grid"), [(0, 5), (2, 9)])
def test_an_encoder_alone_is_accepted_in_a_bundle(encoders, branch, grid):
    check_encoder_graph(encoders[branch], 64, (96, 96), (grid, grid, 8))


def test_an_encoder_alone_holds_no_other_encoder_and_no_head(three_encoders, encoders):
    for content in encoders.values():
        graph = onnx.load_from_string(content).graph
        assert [value.name for value in graph.input] == [IMAGES]
        assert [value.name for value in graph.output] == [FEATURES]
        assert sum(node.op_type == "Conv" for node in graph.node) == 8
        read = {name for node in graph.node for name in node.input}
        assert read >= {tensor.name for tensor in graph.initializer}


def test_cutting_leaves_the_whole_graph_as_it_was(three_encoders):
    before = bytes(three_encoders.fp32)
    cut_out_encoder(three_encoders.fp32, 0)
    assert three_encoders.fp32 == before
    assert onnx.load_from_string(three_encoders.fp32).graph.input[0].name == FRAME
