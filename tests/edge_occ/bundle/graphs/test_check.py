"""Graphs that do or take what ours never do are refused from their bytes, before a runtime sees them."""

import resource

import numpy as np
import pytest
from mutations import BASE, pack, unpack

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.graphs.model import MAX_NODES, read_model
from edge_occ.bundle.graphs.wire import Malformed
from edge_occ.common.errors import BundleRefused
from engines.base import FRAME, MAP

GRAPHS = ["graph.fp32.onnx", "graph.fp16.onnx", "graph.int8.onnx", "encoder.fp32.onnx"]


def refuse(tmp_path, member, change):
    """A bundle of which one graph was changed and every hash agrees is refused, and the member is named."""
    onnx = pytest.importorskip("onnx")
    members = unpack(BASE)
    model = onnx.load_from_string(members[member])
    change(onnx, model)
    members[member] = model.SerializeToString()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BundleRefused) as caught:
        read_bundle(pack(members, tmp_path / "x.occ"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
    assert member in caught.value.expected
    return caught.value.found


def outside(onnx, tensor):
    """Let a tensor have its values in a file of the host."""
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "etc/passwd"), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)


def outside_initializer(onnx, model):
    outside(onnx, next(tensor for tensor in model.graph.initializer if tensor.dims))


def marked_outside(onnx, model):
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL


def outside_constant(onnx, model):
    tensor = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "value")
    outside(onnx, tensor)
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["stolen"], value=tensor))


def outside_sparse(onnx, model):
    sparse = model.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "stolen"))
    sparse.indices.CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.int64), "places"))
    outside(onnx, sparse.values)


def outside_subgraph(onnx, model):
    body = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["stolen"], ["out"])], "body", [], [])
    body.initializer.add().CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "stolen"))
    outside(onnx, body.initializer[0])
    model.graph.node.append(onnx.helper.make_node("If", ["yes"], ["z"], then_branch=body, else_branch=body))


def function(onnx, model):
    steps = [onnx.helper.make_node("Relu", ["a"], ["b"])]
    opsets = [onnx.helper.make_opsetid("", 19)]
    model.functions.append(onnx.helper.make_function("ours", "Deep", ["a"], ["b"], steps, opsets))


def endless_loop(onnx, model):
    body = onnx.helper.make_graph([], "body", [], [])
    model.graph.node.append(onnx.helper.make_node("Loop", ["", ""], ["z"], body=body))


def foreign_domain(onnx, model):
    model.graph.node[0].domain = "com.microsoft"


def imported_domain(onnx, model):
    model.opset_import.add(domain="com.microsoft", version=1)


def filled(onnx, model):
    size = onnx.numpy_helper.from_array(np.array([10**9], np.int64), "size")
    model.graph.initializer.append(size)
    model.graph.node.append(onnx.helper.make_node("ConstantOfShape", ["size"], ["huge"]))


def expanded(onnx, model):
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([10**9], np.int64), "size"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "one"))
    model.graph.node.append(onnx.helper.make_node("Expand", ["one", "size"], ["huge"]))


def crossed(onnx, model):
    """Every pixel with every other: operators of ours alone."""
    source = model.graph.input[0].name
    shapes = {"column": [-1, 1], "row": [1, -1]}
    for name, shape in shapes.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(shape, np.int64), f"{name}.shape"))
    cast = next(node.output[0] for node in model.graph.node if node.op_type == "Cast" and node.input[0] == source)
    model.graph.node.extend(onnx.helper.make_node("Reshape", [cast, f"{name}.shape"], [name]) for name in shapes)
    model.graph.node.append(onnx.helper.make_node("Add", ["column", "row"], ["huge"]))


def ranged(onnx, model):
    for name, value in (("from", 0), ("to", 10**9), ("by", 1)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, np.int64), name))
    model.graph.node.append(onnx.helper.make_node("Range", ["from", "to", "by"], ["huge"]))


def many_nodes(onnx, model):
    last = model.graph.node[-1].output[0]
    model.graph.node.extend(onnx.helper.make_node("Relu", [last], [f"n{i}"]) for i in range(300_000))


def many_notes(onnx, model):
    for i in range(200_000):
        model.graph.metadata_props.add(key=f"key {i}", value="x" * 80)


def many_constants(onnx, model):
    for i in range(40_000):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), f"c{i}"))


def empty_constant(onnx, model):
    model.graph.initializer[0].dims[:] = [10**9]


def heavy(onnx, model):
    """Products of two matrices of 16384 times 16384, one after the other."""
    weights = onnx.numpy_helper.from_array(np.zeros((1 << 14, 1 << 10), np.float32), "w")
    model.graph.initializer.append(weights)
    model.graph.node.append(onnx.helper.make_node("Transpose", ["w"], ["v"], perm=[1, 0]))
    model.graph.node.append(onnx.helper.make_node("MatMul", ["w", "v"], ["m0"]))
    model.graph.node.extend(onnx.helper.make_node("MatMul", [f"m{i}", "m0"], [f"m{i + 1}"]) for i in range(2))


CHANGES = [
    *(outside_initializer, marked_outside, outside_constant, outside_sparse, outside_subgraph, function, endless_loop),
    *(foreign_domain, imported_domain, filled, expanded, crossed, ranged, empty_constant),
]


@pytest.mark.train
@pytest.mark.parametrize("member", GRAPHS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_ours_never_do(tmp_path, member, change):
    refuse(tmp_path, member, change)


@pytest.mark.train
@pytest.mark.parametrize("change", [many_nodes, many_notes, many_constants, heavy])
def test_what_ours_never_take(tmp_path, change):
    refuse(tmp_path, "graph.fp32.onnx", change)


@pytest.mark.train
def test_it_is_reported_what_was_found(tmp_path):
    assert "300" in refuse(tmp_path, "graph.fp32.onnx", many_nodes)
    assert "another file" in refuse(tmp_path, "graph.fp32.onnx", marked_outside)
    assert "values at a time" in refuse(tmp_path, "graph.fp32.onnx", crossed)
    assert "'ConstantOfShape'" in refuse(tmp_path, "graph.fp32.onnx", filled)


@pytest.mark.train
def test_another_head_or_map_than_the_bundles(tmp_path):
    def longer(onnx, model):
        next(value for value in model.graph.input if value.name == "mean").type.tensor_type.shape.dim[2].dim_value += 1

    def frame_of_floats(onnx, model):
        next(value for value in model.graph.input if value.name == FRAME).type.tensor_type.elem_type = 1

    def turned(onnx, model):
        del model.graph.output[2:]
        model.graph.output[0].name, model.graph.output[1].name = MAP, "score"

    for change in (longer, frame_of_floats, turned):
        refuse(tmp_path, "graph.fp32.onnx", change)


def test_every_graph_of_a_bundle_is_read():
    for member in GRAPHS:
        model = read_model(unpack(BASE)[member])
        assert 20 < len(model.nodes) < MAX_NODES


@pytest.mark.parametrize("data", [b"", b"no model", b"\x3a\x00"])
def test_what_is_no_model(data):
    with pytest.raises(Malformed):
        read_model(data)
