"""Settings of the network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trainer.config.section import Section


class InputConfig(Section):
    """What a frame becomes before the encoder sees it."""

    size: int = Field(256, ge=32, le=2048, description="side in pixels that every frame is resized to")


class EncoderConfig(Section):
    """The network from an image to a grid of features."""

    name: Literal["dense", "lite0", "resnet18"] = Field(
        "dense",
        description="dense: valid convolutions, exact window by window; lite0: EfficientNet-Lite0, several layers on "
        "one grid; resnet18: one feature an image, as the papers' image-level model",
    )
    init: str = Field(
        "scratch",
        description="weights to begin with: scratch, imagenet (lite0 only: an installed package), or a file of weights "
        "(.safetensors, or .pth as timm and torchvision write them)",
    )
    window: Literal[64, 32] = Field(
        64, description="side in pixels of what a feature sees; 32: strides 4 and 8, one scale (dense; CutPaste A.5)"
    )
    stride: Literal[4, 8, 16] = Field(8, description="grid stride in pixels of the resized frame (dense)")
    width: int = Field(32, ge=4, le=256, description="channels of the first layer (dense)")
    dim: int = Field(256, ge=8, le=2048, description="features a window (dense)")
    base_width: int = Field(  # torch 2.13 was seen to crash on a CPU with 4 and 5 channels
        64,
        ge=8,
        le=256,
        multiple_of=8,
        description="channels of the first layer, an eighth of the features: 64 is the papers', 16 trains on a CPU "
        "(resnet18)",
    )
    blocks: tuple[int, ...] = Field(
        (2, 4, 7, 10), description="blocks whose outputs are the features, of 0..15 (lite0)"
    )

    @model_validator(mode="after")
    def _known(self) -> EncoderConfig:
        if self.name == "dense" and self.init != "scratch":
            raise ValueError(f"the dense encoder has no weights to begin with: init must be scratch, not {self.init}")
        if self.name == "dense" and self.window == 32 and self.stride == 16:
            raise ValueError("encoder.window=32 goes with encoder.stride=4 or 8, not 16")
        if (
            not self.blocks
            or sorted(set(self.blocks)) != list(self.blocks)
            or not 0 <= self.blocks[0] <= self.blocks[-1] <= 15
        ):
            raise ValueError(f"blocks must rise within 0..15, not {self.blocks}")
        return self
