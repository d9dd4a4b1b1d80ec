"""Every graph of a bundle on real images: compared with torch and with fp32's verdicts, and built by TensorRT-RTX.

    python benchmarks/precisions.py bottle.occ mvtec_ad/bottle/test/* [FOLDER ...]

The torch modules are rebuilt from the weights in the fp32 graph.  Score errors are relative.  AUROC is given if the
folders are those in ``test`` of the MVTec layout.  TensorRT-RTX compiles for a GPU on any x86-64 machine.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.common.images import find_images, read_image
from engines.onnxruntime import OnnxRuntimeEngine
from trainer.config import TrainConfig
from trainer.encoders.build import make_encoder
from trainer.evaluation.metrics import image_auroc
from trainer.graph.branches import Branch, make_branch
from trainer.graph.inspection import InspectionGraph

TARGETS = ("SM86", "SM89")


def torch_graph(bundle: Bundle) -> InspectionGraph:
    """Rebuild the modules of the bundle's settings with the weights of its fp32 graph."""
    config, size = TrainConfig.model_validate(bundle.manifest.training.config), bundle.manifest.geometry.size
    branches: list[Branch] = []
    for branch in config.branches:
        encoder = make_encoder(branch.encoder, size).eval()
        encoder.fuse()
        branches.append(make_branch(encoder, branch, size))
    heads = [branch.head.kinds for branch in config.branches]
    graph = InspectionGraph(branches, heads, size).eval()
    model = onnx.load_from_string(bundle.members["graph.fp32.onnx"])
    weights = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer
    }
    # The exporter leaves out a tensor that equals another: upsampling matrices, which follow from the settings.
    graph.load_state_dict({name: weights[name] for name in graph.state_dict() if name in weights}, strict=False)
    return graph


def torch_scores(bundle: Bundle, frames: list[np.ndarray]) -> np.ndarray:
    graph = torch_graph(bundle)
    # The order is that of the graph's inputs.
    head = bundle.graph().head
    names = [value.name for value in onnx.load_from_string(bundle.graph().onnx).graph.input if value.name in head]
    tensors = [torch.from_numpy(head[name].copy()) for name in names]
    with torch.inference_mode():
        return np.array([float(graph(torch.from_numpy(frame), tensors)[0]) for frame in frames])


def engine_scores(bundle: Bundle, precision: str, frames: list[np.ndarray]) -> tuple[np.ndarray, float]:
    engine = OnnxRuntimeEngine(bundle.graph(precision))
    scores, seconds = [], []
    for frame in frames:
        begun = time.perf_counter()
        scores.append(engine.infer(frame).score)
        seconds.append(time.perf_counter() - begun)
    return np.array(scores), float(np.median(seconds)) * 1e3


def compile_seconds(content: bytes, target: str, frame: tuple[int, int]) -> tuple[float, int]:
    import tensorrt_rtx_bindings as trt  # noqa: PLC0415 - x86-64 alone

    begun = time.perf_counter()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(content):
        raise SystemExit(parser.get_error(0).desc())
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, target), 0)
    profile = builder.create_optimization_profile()
    profile.set_shape("frame", (2, 2, 3), (*frame, 3), (1200, 1920, 3))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise SystemExit("the builder gave no plan")
    return time.perf_counter() - begun, plan.nbytes


def main() -> None:
    bundle = read_bundle(Path(sys.argv[1]))
    paths = [path for folder in sys.argv[2:] for path in find_images(Path(folder))]
    frames = [read_image(path) for path in paths]
    defective = np.array([path.parent.name != "good" for path in paths])
    expected = torch_scores(bundle, frames)
    verdicts = expected > bundle.manifest.calibration.threshold
    print(f"{len(frames)} images, {int(verdicts.sum())} anomalous; torch {torch.__version__}")
    for precision in bundle.precisions:
        scores, milliseconds = engine_scores(bundle, precision, frames)
        found = scores > bundle.manifest.calibration.threshold
        auroc = image_auroc(defective, scores)
        print(
            f"{precision}: score error {np.abs(scores / expected - 1).max():.1e}, verdict of torch "
            f"{np.mean(found == verdicts):.2%}, AUROC {'-' if auroc is None else format(auroc, '.4f')}, "
            f"{milliseconds:.1f} ms"
        )
    total = 0.0
    for precision in bundle.precisions:
        for target in TARGETS:
            seconds, size = compile_seconds(bundle.graph(precision).onnx, target, frames[0].shape[:2])
            total += seconds
            print(f"TensorRT-RTX {precision} {target}: {seconds:.2f} s, plan of {size / 1e6:.1f} MB")
    print(f"TensorRT-RTX in total: {total:.1f} s")


if __name__ == "__main__":
    main()
