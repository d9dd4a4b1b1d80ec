"""fp16 encoders in a graph that is fp32 otherwise."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from engines.base import Graph
from engines.onnxruntime import OnnxRuntimeEngine
from trainer.export.half import ENCODER, with_half_encoders


@pytest.fixture(scope="module")
def fp16(three_encoders):
    return with_half_encoders(three_encoders.fp32)


def constants(content):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(content).graph.initializer}


def modules(node):
    return next((prop.value for prop in node.metadata_props if prop.key == "pkg.torch.onnx.name_scopes"), "")


def test_each_encoder_is_entered_and_left_by_one_cast(fp16):
    nodes = onnx.load_from_string(fp16).graph.node
    inner = [node for node in nodes if ENCODER.search(modules(node))]
    casts = [node for node in nodes if node.op_type == "Cast" and not ENCODER.search(modules(node))]
    to_half = [node for node in casts if node.attribute[0].i == TensorProto.FLOAT16]
    made, read = ({name for node in inner for name in names(node)} for names in (lambda n: n.output, lambda n: n.input))
    back = [node for node in casts if node.input[0] in made]
    # Both dense encoders have the same input, and Lite0 another.
    assert (len(to_half), len(back)) == (2, 3)
    assert {node.output[0] for node in to_half} == read - made - set(constants(fp16))
    assert {node.attribute[0].i for node in back} == {TensorProto.FLOAT}


def test_every_value_of_an_encoder_is_fp16_and_no_other(fp16):
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(fp16), strict_mode=True)
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    inner = {name for node in model.graph.node if ENCODER.search(modules(node)) for name in node.output}
    assert {kinds[name] for name in inner} == {TensorProto.FLOAT16}
    to_half = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT16} - inner
    assert len(to_half) == 2
    assert {value.type.tensor_type.elem_type for value in model.graph.output} == {TensorProto.FLOAT}


def test_constants_are_rounded_to_the_nearest(three_encoders, fp16):
    exact, rounded = constants(three_encoders.fp32), constants(fp16)
    halves = {name: values for name, values in rounded.items() if values.dtype == np.float16}
    weights = [name for name in halves if name.endswith("weight.half")]
    assert len(weights) == 8 + 6 + 8
    for name, values in halves.items():
        np.testing.assert_array_equal(values, exact[name.removesuffix(".half")].astype(np.float16))
    assert not {name.removesuffix(".half") for name in weights} & set(rounded)


def test_fp16_features_are_those_of_fp32_but_for_the_rounding(three_encoders, fp16):
    frame = np.random.default_rng(0).integers(0, 256, (120, 100, 3), dtype=np.uint8)
    fine, rough = (
        OnnxRuntimeEngine(Graph(content, precision, three_encoders.inputs)).features(frame)
        for content, precision in ((three_encoders.fp32, "fp32"), (fp16, "fp16"))
    )
    for expected, found in zip(fine, rough, strict=True):
        assert found.dtype == np.float32
        assert 0 < np.abs(found - expected).max() / np.abs(expected).max() < 1e-2
