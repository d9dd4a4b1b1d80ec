"""Every pretrained representation works with every one-class head, on scikit-learn's digits.

What runtimes make of each head in a graph is looked at in graph/test_heads_in_graph.py.
"""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from trainer.config import BranchConfig, HeadConfig
from trainer.encoders.build import make_encoder
from trainer.evaluation.metrics import image_auroc
from trainer.graph.branches import make_branch
from trainer.graph.inspection import InspectionGraph
from trainer.heads.build import fit_head
from trainer.heads.fused import FusedHead
from trainer.pretrain.fit_encoder import fit_encoder

SIZE, NORMAL, DIM = (80, 80), 0, 16
CPU = torch.device("cpu")

RESNET = {"name": "resnet18", "base_width": 8}
WHOLE = {"mode": "image", "hidden_layers": 1, "hidden_width": 32, "embedding": 16}
REPRESENTATIONS = {
    "frozen": {"encoder": {"name": "lite0"}, "pretext": {"name": "none"}},
    "untrained": {"encoder": RESNET, "pretext": {"name": "none", **WHOLE}},
    "rotation": {"encoder": RESNET, "pretext": {"name": "rotation", **WHOLE}, "views": {"enabled": True}},
    "contrastive": {"encoder": RESNET, "pretext": {"name": "contrastive", **WHOLE}, "views": {"enabled": True}},
    "contrastive-da": {"encoder": RESNET, "pretext": {"name": "contrastive-da", **WHOLE}, "views": {"enabled": True}},
    "cutpaste, whole": {"encoder": RESNET, "pretext": {"name": "cutpaste-3way", **WHOLE}},
    "cutpaste, dense": {"encoder": {"width": 8, "dim": 32}, "pretext": {"name": "cutpaste-3way"}},
}
HEADS = {
    "ridge": {"regulariser": "ridge"},
    "ledoit-wolf": {"regulariser": "ledoit-wolf"},
    "oas": {"regulariser": "oas"},
    "low-rank": {"regulariser": "low-rank", "components": 4},
    "low-variance": {"regulariser": "low-variance", "components": 4},
    "kde": {"kind": "kde"},
    "ocsvm": {"kind": "ocsvm"},
    "ocsvm-linear": {"kind": "ocsvm-linear"},
    "nearest": {"kind": "nearest"},
    "knn": {"kind": "knn"},
}


@pytest.fixture(scope="module")
def digits():
    """Pictures of one digit to learn from, as many to test, as many of the others; uint8 ``[60, 3, side, side]``."""
    data = load_digits()
    pixels = interpolate(torch.from_numpy(data.images)[:, None].float() * 15.9, SIZE, mode="bilinear")
    pixels = pixels.round().byte().expand(-1, 3, -1, -1)
    own, others = pixels[data.target == NORMAL], pixels[data.target != NORMAL]
    return own[:60], own[60:120], others[:60]


class PretrainedEncoders:
    """A pretrained representation, and all heads on it in one graph."""

    def __init__(self, name, digits, folder):
        config = BranchConfig.model_validate(
            {
                "head": {"dim": DIM},
                "optimiser": {"steps": 12, "batch": 16, "learning_rate": 0.01},
                **REPRESENTATIONS[name],
            }
        )
        torch.manual_seed(0)
        encoder = make_encoder(config.encoder, SIZE)
        branch = make_branch(encoder, config, SIZE)
        if config.pretext.name != "none":
            fit_encoder(digits[0], encoder, config, 0, CPU, folder / "checkpoint", "x")
        encoder.eval().fuse()
        branch.eval().extractor.level(digits[0])
        with torch.inference_mode():
            self.features = [branch.features(images.float()) for images in digits]
        configs = [HeadConfig.model_validate({"scope": "shared", "dim": DIM, **head}) for head in HEADS.values()]
        self.heads = [fit_head(self.features[0], head, "shared") for head in configs]
        self.graph = InspectionGraph([branch], [tuple(head.kind for head in configs)], SIZE).eval()

    def alone(self, place):
        weights = torch.eye(len(self.heads))[place]
        return FusedHead(self.heads, weights, weights.clone())


@pytest.fixture(scope="module", params=REPRESENTATIONS)
def represented(request, digits, tmp_path_factory):
    return PretrainedEncoders(request.param, digits, tmp_path_factory.mktemp("pair"))


@pytest.mark.parametrize("name", HEADS)
def test_any_representation_goes_with_any_head(represented, digits, name):
    """It separates the digit from the others, and so does the graph with its tensors."""
    place = list(HEADS).index(name)
    head, tensors = represented.heads[place], list(represented.alone(place).tensors().values())
    with torch.inference_mode():
        scores = [head.score_many(part).amax((1, 2)) for part in represented.features[1:]]
        for images, expected in zip(digits[1:], scores, strict=True):
            score, score_map, *_ = represented.graph(images[7].permute(1, 2, 0).flip(2), tensors)
            assert score_map.shape == SIZE
            if represented.features[0].shape[1:3] == (1, 1):
                assert float(score) == pytest.approx(float(expected[7]), rel=1e-3)
            else:  # smoothed over the positions
                assert 0 <= float(score) <= 1.001 * float(expected[7])
    auroc = image_auroc(np.repeat([False, True], 60), torch.cat(scores).double().numpy())
    # A linear one-class SVM calls everything beyond its plane normal, at any distance.
    assert auroc > (0.1 if name == "ocsvm-linear" else 0.6)
