"""Shapes that are foretold are those that ONNX Runtime makes; work and memory are counted."""

import numpy as np
import onnxruntime as ort
import pytest

from edge_occ.bundle.bundle import ENCODER_GRAPH, read_bundle
from edge_occ.bundle.graphs.model import Node, OnnxModel, Tensor, read_model
from edge_occ.bundle.graphs.shapes import cost_of
from edge_occ.bundle.graphs.values import Value
from edge_occ.bundle.graphs.wire import Malformed
from engines.base import FRAME, IMAGES


def made(data, inputs):
    """The shape of every value that ONNX Runtime computes."""
    import onnx

    model = onnx.load_from_string(data)
    names = [name for node in model.graph.node for name in node.output]
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {name: value.shape for name, value in zip(names, session.run(names, inputs), strict=True)}


@pytest.mark.train
@pytest.mark.parametrize("size", [(112, 112), (40, 300)])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_shapes_of_the_whole_graph(tiny_bundle, precision, size):
    graph = read_bundle(tiny_bundle).graph(precision)
    inputs = {FRAME: np.zeros((*size, 3), np.uint8), **graph.head}
    expected = made(graph.onnx, inputs)
    found = cost_of(read_model(graph.onnx), {name: value.shape for name, value in inputs.items()}).shapes
    assert len(expected) > 50
    assert {name: found[name] for name in expected} == expected


@pytest.mark.train
@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (2, 96, 131, 3)])
def test_shapes_of_the_encoder(tiny_bundle, shape):
    onnx = read_bundle(tiny_bundle).members[ENCODER_GRAPH]
    expected = made(onnx, {IMAGES: np.zeros(shape, np.uint8)})
    found = cost_of(read_model(onnx), {IMAGES: shape}).shapes
    assert {name: found[name] for name in expected} == expected


@pytest.mark.train
@pytest.mark.parametrize("shape", [(1, 64, 70, 3), (2, 101, 96, 3)])
def test_shapes_of_a_slice_whose_end_is_computed_from_a_length(shape):
    """As in the encoders of older bundles: every second of ``2 * (length // 8 - 3)`` values from the third on."""
    from onnx import TensorProto, helper

    steps = (
        ("Shape", [IMAGES], {"start": 1, "end": 2}),
        ("Squeeze", ["Shape"], {}),
        ("Div", ["Squeeze", "8"], {}),
        ("Sub", ["Div", "3"], {}),
        ("Mul", ["Sub", "2"], {}),
        ("Add", ["Mul", "3"], {}),
        ("Reshape", ["Add", "[-1]"], {}),
        ("Slice", [IMAGES, "[3]", "Reshape", "[1]", "[2]"], {}),
    )
    numbers = {str(n): helper.make_tensor(str(n), TensorProto.INT64, [], [n]) for n in (2, 3, 8)}
    rows = {f"[{n}]": helper.make_tensor(f"[{n}]", TensorProto.INT64, [1], [n]) for n in (-1, 1, 2, 3)}
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [kind], **attributes) for kind, inputs, attributes in steps],
        "crop",
        [helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["n", "height", "width", 3])],
        [helper.make_tensor_value_info("Slice", TensorProto.UINT8, ["n", "rows", "width", 3])],
        [*numbers.values(), *rows.values()],
    )
    opset = helper.make_opsetid("", 19)
    onnx = helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
    expected = made(onnx, {IMAGES: np.zeros(shape, np.uint8)})
    assert expected["Slice"][1] == shape[1] // 8 - 3
    found = cost_of(read_model(onnx), {IMAGES: shape}).shapes
    assert {name: found[name] for name in expected} == expected


def model(*nodes, outputs=("y",)):
    return OnnxModel({}, {name: Tensor(1, ()) for name in outputs}, {}, nodes)


def node(op, inputs, outputs=("y",), **attributes):
    return Node(op, tuple(inputs), tuple(outputs), attributes)


def test_what_is_needed_at_a_time_and_what_is_done():
    """``a`` is dropped before ``y`` is made; a product counts 256 for each value besides."""
    steps = (
        node("Relu", ["x"], ["a"]),
        node("MatMul", ["a", "w"], ["b"]),
        node("MatMul", ["b", "v"], ["y"]),
    )
    cost = cost_of(model(*steps), {"x": (100, 50), "w": (50, 10), "v": (10, 1)})
    assert cost.inputs == 5000 + 500 + 10
    assert cost.peak == 5000 + 1000
    assert cost.work == 256 * 5000 + (100 * 10 * 50 + 256 * 5000) + (100 * 1 * 10 + 256 * 1000)


def test_what_is_kept_to_the_end_is_counted():
    steps = [node("Relu", ["x"], [f"y{i}"]) for i in range(9)]
    assert cost_of(model(*steps, outputs=[f"y{i}" for i in range(9)]), {"x": (10,)}).peak == 90
    assert cost_of(model(*steps), {"x": (10,)}).peak == 10  # nobody asks for them


@pytest.mark.parametrize(
    "step",
    [
        node("Loop", ["x"]),
        node("Expand", ["x", "x"]),
        node("Relu", ["x"], ["y", "z"]),
        node("Relu", ["nothing"]),
        node("Relu", []),
        node("Relu", ["x"], ["x"]),
        node("MatMul", ["x", "x"]),
        node("Transpose", ["x"], perm=(0, 0)),
        node("Transpose", ["x"], perm="ab"),
        node("Reshape", ["x", "x"]),  # sizes from the content of a frame
        node("Concat", ["x", "x"], axis=7),
        node("MaxPool", ["x"], kernel_shape=(0,)),
        node("MaxPool", ["x"]),
        node("Range", ["x", "x", "x"]),
    ],
)
def test_what_does_not_fit_is_refused(step):
    with pytest.raises(Malformed):
        cost_of(model(step), {"x": (3, 4)})


def test_a_range_runs_over_places_of_an_axis_alone():
    """A length that was computed could grow as it likes."""
    from edge_occ.bundle.graphs.rules import RULES

    def ranged(limit):
        return RULES["Range"](node("Range", "abc"), [number(0), limit, number(1)])

    def number(value, extent=False):
        return Value((), np.array(value, np.int64), extent)

    assert ranged(number(7, extent=True)).shape == (7,)
    with pytest.raises(ValueError, match="along an axis"):
        ranged(number(10**9))
    doubled = RULES["Mul"](node("Mul", "ab"), [number(7, extent=True), number(10**6)])
    assert doubled.known == 7_000_000
    with pytest.raises(ValueError, match="along an axis"):
        ranged(doubled)
