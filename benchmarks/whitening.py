"""Cost of whitening every position of a frame, by the layout of the matrices.

    python benchmarks/whitening.py [--rounds N]

1024 vectors of 128 features, each multiplied by a lower triangular matrix of its own: whole, as tiles without those of
zeros, and in float16 with a cast in the graph.  ONNX Runtime on 2 threads, all layouts interleaved in one run, after
other memory was written, as by an encoder.  Prints the lowest, the 25th and the 50th percentile of milliseconds of
processor time and of wall-clock time, and the size of the matrices.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.onnxruntime import open_session

POSITIONS, DIM = 1024, 128
LAYOUTS = [(1, "float32"), (2, "float32"), (4, "float32"), (8, "float32"), (1, "float16"), (2, "float16")]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    generator = np.random.default_rng(0)
    whole = np.tril(generator.normal(size=(POSITIONS, DIM, DIM))).astype(np.float32)
    vectors = generator.normal(size=(POSITIONS, 1, DIM)).astype(np.float32)
    expected = np.square(vectors @ whole.transpose(0, 2, 1)).sum((1, 2))
    runs = []
    for blocks, dtype in LAYOUTS:
        tiles, session = layout(whole, blocks, dtype)
        feed = {name: ort.OrtValue.ortvalue_from_numpy(of) for name, of in (("vectors", vectors), ("tiles", tiles))}
        found = session.run_with_ort_values(["scores"], feed)[0].numpy()
        print(f"{blocks} blocks, {dtype}: largest error {np.abs(found / expected - 1).max():.1e}")
        runs.append((session, feed))
    elsewhere = np.zeros(64 << 20, np.uint8)
    times = np.zeros((2, rounds, len(runs)))
    for row in range(rounds):
        for column, (session, feed) in enumerate(runs):
            elsewhere += 1
            worked, began = time.process_time(), time.perf_counter()
            session.run_with_ort_values(["scores"], feed)
            times[:, row, column] = time.process_time() - worked, time.perf_counter() - began
    for column, (blocks, dtype) in enumerate(LAYOUTS):
        processor, wall = np.percentile(times[:, :, column] * 1e3, [0, 25, 50], axis=1).T.round(1).tolist()
        size = np.dtype(dtype).itemsize * POSITIONS * (blocks + 1) / (2 * blocks) * DIM * DIM
        size = size if blocks > 1 else np.dtype(dtype).itemsize * whole.size
        print(f"{blocks} blocks, {dtype}: processor {processor}, wall {wall} ms, {size / 1e6:.0f} MB")


def layout(whole: NDArray[np.float32], blocks: int, dtype: str) -> tuple[NDArray[Any], ort.InferenceSession]:
    """Tiles ``[positions, tiles, side, side]`` on and below the diagonal, and a graph that scores with them."""
    side = DIM // blocks
    places = [(row, column) for row in range(blocks) for column in range(row + 1)]
    tiles = np.stack([whole[:, r * side :, c * side :][:, :side, :side] for r, c in places], 1).astype(dtype)
    sums = np.array([[row == r for r, _ in places] for row in range(blocks)], np.float32)
    constants = {
        "split": np.array([POSITIONS, blocks, 1, side]),
        "columns": np.array([c for _, c in places]),
        "row": np.array([2]),
        "axes": np.array([1, 2]),
        "sums": sums,
    }
    nodes = [
        helper.make_node("Cast", ["tiles"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("Reshape", ["vectors", "split"], ["parts"]),
        helper.make_node("Gather", ["parts", "columns"], ["chosen"], axis=1),
        helper.make_node("MatMul", ["chosen", "turned"], ["products"]),
        helper.make_node("Squeeze", ["products", "row"], ["squeezed"]),
        helper.make_node("MatMul", ["sums", "squeezed"], ["whitened"]),
        helper.make_node("Mul", ["whitened", "whitened"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "axes"], ["scores"], keepdims=0),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "whitening",
        [
            helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [POSITIONS, 1, DIM]),
            helper.make_tensor_value_info("tiles", kind, tiles.shape),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [POSITIONS])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    return tiles, open_session(model.SerializeToString(), threads=2)


if __name__ == "__main__":
    main()
