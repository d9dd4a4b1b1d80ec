"""Encoders built from settings and image size."""

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from trainer.config import EncoderConfig
from trainer.encoders.build import make_encoder
from trainer.encoders.resnet import ResNet18Encoder

RESNET = EncoderConfig(name="resnet18", base_width=8)


@pytest.mark.parametrize(
    ("size", "small", "positions"),
    [(32, True, 4), (48, True, 6), (64, True, 8), (65, False, 3), (128, False, 4), (256, False, 8)],
)
def test_the_stem_of_resnet_goes_with_the_size_of_its_images(size, small, positions):
    encoder = make_encoder(RESNET, (size, size)).eval()
    assert encoder.conv1.kernel_size == ((3, 3) if small else (7, 7))
    with torch.inference_mode():
        assert encoder(torch.rand(1, 3, size, size)).shape == (1, 64, positions, positions)
    assert len(encoder.centres(size)) == positions


def test_pretrained_weights_keep_the_stem_that_they_are_of(tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(ResNet18Encoder().state_dict(), path)
    encoder = make_encoder(EncoderConfig(name="resnet18", init=str(path)), (32, 32))
    assert encoder.conv1.kernel_size == (7, 7)


def test_the_default_width_is_the_papers():
    assert make_encoder(EncoderConfig(name="resnet18"), (32, 32)).scales == (512,)
    assert make_encoder(EncoderConfig(name="resnet18", base_width=16), (32, 32)).scales == (128,)
    with pytest.raises(ValidationError, match="multiple of 8"):
        EncoderConfig(name="resnet18", base_width=12)


def test_other_encoders_are_the_same_for_every_size():
    settings = EncoderConfig(width=4, dim=16)
    torch.manual_seed(0)
    first = make_encoder(settings, (64, 64)).state_dict()
    torch.manual_seed(0)
    second = make_encoder(settings, (256, 256)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
