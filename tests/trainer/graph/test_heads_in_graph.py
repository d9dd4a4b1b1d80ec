"""Heads of every kind behind a patch branch and an image branch: exported, and what runtimes make of them."""

from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from edge_occ.bundle.graphs.check import check_inspection_graph
from engines.base import FRAME, MAP_WEIGHTS, SCORE_WEIGHTS, Graph
from engines.onnxruntime import OnnxRuntimeEngine
from engines.opencv import OpenCvEngine
from engines.openvino import OpenVinoEngine
from trainer.calibration.fit_heads import HeadCalibrator
from trainer.config import BranchConfig, HeadConfig, HeadKind, TrainConfig
from trainer.encoders.base import Encoder
from trainer.export.onnx_graph import export_inspection_graph
from trainer.graph.branches import ImageBranch, PatchBranch
from trainer.graph.inspection import InspectionGraph
from trainer.graph.preprocess import Preprocess
from trainer.heads.build import fit_head
from trainer.heads.fused import FusedHead

KINDS = get_args(HeadKind)
ALL = [(branch, kind) for branch in ("patch", "image") for kind in KINDS]


class Small(Encoder):
    """One convolution: what is looked at here lies behind the encoder."""

    scales, stride, window = (16,), 16, 16

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 16, 16)

    def forward(self, image):
        return self.conv(image).relu()

    def centres(self, size):
        return torch.arange(size // 16, dtype=torch.float64) * 16 + 8


def frames(n, seed, size=(70, 90)):
    """Noise of one texture: every frame is like the others, and no two are the same."""
    generator = np.random.default_rng(seed)
    base = np.add.outer(np.arange(size[0]), np.arange(size[1]))[..., None] % 97
    return [(base + generator.integers(0, 60, (*size, 3))).astype(np.uint8) for _ in range(n)]


def spoilt(frame):
    frame = frame.copy()
    frame[20:45, 50:80] = (250, 10, 120)
    return frame


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(0)
    heads = {"kind": KINDS[0], "scope": "shared", "further_kinds": KINDS[1:], "dim": 16}
    config = BranchConfig.model_validate({"encoder": {"name": "lite0"}, "pretext": {"name": "none"}, "head": heads})
    branches = [PatchBranch(Small().eval(), config, (64, 64)), ImageBranch(Small().eval(), config, (64, 64))]
    return InspectionGraph(branches, [KINDS, KINDS], (64, 64)).eval()


@pytest.fixture(scope="module")
def parts(graph):
    images = Preprocess((64, 64))(torch.from_numpy(np.stack(frames(12, 0))))
    with torch.inference_mode():
        features = [branch.features(images) for branch in graph.branches]
    return tuple(fit_head(own, HeadConfig(kind=kind, scope=("shared",), dim=16)) for own in features for kind in KINDS)


@pytest.fixture(scope="module")
def fused(graph, parts):
    """Each head measured by what it says of a spoilt frame, so that none drowns another."""
    frame = torch.from_numpy(spoilt(frames(1, 9)[0]))
    with torch.inference_mode():
        said = [
            float(graph(frame, list(FusedHead(parts, one, one).tensors().values()))[0]) for one in torch.eye(len(parts))
        ]
    weights = 1 / torch.tensor(said)
    return FusedHead(parts, weights, weights.clone())


@pytest.fixture(scope="module")
def exported(graph, fused):
    return export_inspection_graph(graph, fused)


def with_head(exported, head):
    return Graph(exported, "fp32", {name: tensor.numpy() for name, tensor in head.tensors().items()})


def test_heads_of_all_kinds_are_of_operators_that_devices_accept(exported, fused):
    """Every graph passes the reader that a device checks it with, and has the shapes that the reader computes."""
    head = {name: tuple(tensor.shape) for name, tensor in fused.tensors().items()}
    assert check_inspection_graph(exported, head, [(70, 90)], (64, 64)) == ((4, 4, 16), (1, 1, 16))


@pytest.mark.parametrize("place", range(len(ALL)), ids=["-".join(pair) for pair in ALL])
def test_onnx_runtime_computes_each_head_as_torch_does(graph, parts, exported, place):
    """The weights are inputs: with all but one at zero there is one head."""
    alone = FusedHead(parts, torch.eye(len(parts))[place], torch.eye(len(parts))[place])
    engine = OnnxRuntimeEngine(with_head(exported, alone))
    good, other = frames(1, 9)[0], spoilt(frames(1, 9)[0])
    scores = []
    for frame in (good, other, frames(1, 3, (40, 160))[0]):
        with torch.inference_mode():
            score, score_map, *_ = graph(torch.from_numpy(frame), list(alone.tensors().values()))
        found = engine.infer(frame)
        assert found.score == pytest.approx(float(score), rel=1e-4)
        np.testing.assert_allclose(found.map, score_map.numpy(), rtol=0, atol=1e-4 * float(score_map.max()))
        scores.append(found.score)
        assert float(score_map.max()) == pytest.approx(float(score), rel=1e-4)
    if ALL[place][1] != "ocsvm-linear":  # for which all that lies beyond its plane is good, however far
        assert scores[1] > 1.2 * scores[0]


@pytest.mark.parametrize("runtime", [OpenVinoEngine, OpenCvEngine])
def test_other_runtimes_compute_all_heads(graph, fused, exported, runtime):
    agree(runtime, graph, fused, exported)


def agree(runtime, graph, fused, exported):
    """Scores and maps of good and spoilt frames are torch's."""
    if runtime is OpenVinoEngine:
        pytest.importorskip("openvino")
    engine = runtime(with_head(exported, fused))
    for frame in (frames(1, 9)[0], spoilt(frames(1, 9)[0])):
        with torch.inference_mode():
            score, score_map, *_ = graph(torch.from_numpy(frame), list(fused.tensors().values()))
        found = engine.infer(frame)
        assert found.score == pytest.approx(float(score), rel=1e-4)
        np.testing.assert_allclose(found.map, score_map.numpy(), rtol=0, atol=3e-4 * float(score_map.max()))


@pytest.fixture(scope="module")
def subsampled():
    """Graph, head and model of a score over so many pixels that only every second one is read."""
    config = BranchConfig.model_validate(
        {
            "encoder": {"name": "lite0"},
            "pretext": {"name": "none"},
            "head": {"dim": 16},
            "map": {"image_score": "top", "top_fraction": 0.25},
        }
    )
    graph = InspectionGraph([PatchBranch(Small().eval(), config, (128, 128))], [["gaussian"]], (128, 128)).eval()
    assert graph.branches[0].score_maps[0].step == 2
    images = Preprocess((128, 128))(torch.from_numpy(np.stack(frames(12, 0))))
    with torch.inference_mode():
        part = fit_head(graph.branches[0].features(images), config.head)
    head = FusedHead((part,), torch.ones(1), torch.ones(1))
    return graph, head, export_inspection_graph(graph, head)


@pytest.mark.parametrize("runtime", [OnnxRuntimeEngine, OpenVinoEngine, OpenCvEngine])
def test_runtimes_read_every_second_pixel(subsampled, runtime):
    agree(runtime, *subsampled)


def test_every_tensor_is_an_input_that_can_be_swapped(graph, fused, exported, parts):
    head = with_head(exported, fused).head
    assert len(head) == 2 * sum(len(part.tensors()) for part in parts[: len(KINDS)]) + 2
    assert {SCORE_WEIGHTS, MAP_WEIGHTS} < set(head)
    frame = frames(1, 9)[0]
    before = OnnxRuntimeEngine(Graph(exported, "fp32", head)).infer(frame).score
    for name in head:
        if name != MAP_WEIGHTS:
            changed = OnnxRuntimeEngine(Graph(exported, "fp32", {**head, name: 1.5 * head[name] + 0.01}))
            assert changed.infer(frame).score != pytest.approx(before, rel=1e-6), name


def test_nvidias_own_builder_compiles_all_of_them(exported):
    assert compiled(exported)


def test_nvidias_own_builder_compiles_the_top_of_every_second_pixel(subsampled):
    assert compiled(subsampled[2])


def compiled(model):
    """A plan for a GPU that is not here; that takes no GPU."""
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="NVIDIA publishes TensorRT-RTX for x86-64 alone")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(model), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    profile = builder.create_optimization_profile()
    profile.set_shape(FRAME, (2, 2, 3), (96, 96, 3), (1200, 1920, 3))
    config.add_optimization_profile(profile)
    return builder.build_serialized_network(network, config)


@pytest.fixture(scope="module")
def regional():
    """Graph, heads and model: a standardised head of a region, a plain one, and a standardised one of the whole."""
    torch.manual_seed(0)
    own = {"scope": ["per-position", "position-mean", "shared"], "standardise": [True, False, True]}
    config = BranchConfig.model_validate(
        {
            "encoder": {"name": "lite0"},
            "pretext": {"name": "none"},
            "head": {"dim": 16, **own, "in_region": [True, True, False]},
            "map": {"image_score": "top", "top_fraction": 0.03},
        }
    )
    mask = np.zeros((64, 64), bool)
    mask[8:56, 20:60] = True
    branch = PatchBranch(Small().eval(), config, (64, 64), mask)
    graph = InspectionGraph([branch], [config.head.graph_kinds], (64, 64)).eval()
    images = Preprocess((64, 64))(torch.from_numpy(np.stack(frames(12, 0))))
    with torch.inference_mode():
        features = branch.features(images)
    fitted = HeadCalibrator([branch], TrainConfig.model_validate(config.model_dump()), 0).fit([features]).head
    return graph, fitted, export_inspection_graph(graph, fitted)


def test_standardised_heads_and_regions_are_of_operators_that_devices_accept(regional):
    _, fused, exported = regional
    head = {name: tuple(tensor.shape) for name, tensor in fused.tensors().items()}
    assert head["log_mean"] == head["log_deviation"] == (1, 12)
    assert head["mean"] == (1, 12, 16)
    assert head["log_mean.2"] == (4, 4)
    assert check_inspection_graph(exported, head, [(70, 90)], (64, 64)) == ((4, 4, 16),)


@pytest.mark.parametrize("runtime", [OnnxRuntimeEngine, OpenVinoEngine, OpenCvEngine])
def test_runtimes_compute_standardised_heads_and_regions(regional, runtime):
    agree(runtime, *regional)


def test_nvidias_own_builder_compiles_standardised_heads_and_regions(regional):
    assert compiled(regional[2])
