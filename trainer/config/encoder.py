"""Settings of the input and of the encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trainer.config.section import Section


class InputConfig(Section):
    """The resizing of frames."""

    size: int = Field(
        256, ge=32, le=2048, description="Side in pixels of the square that every frame is resized to, 32 to 2048."
    )


class EncoderConfig(Section):
    """The encoder: a network from an image to a grid of features."""

    name: Literal["dense", "lite0", "resnet18"] = Field(
        "dense",
        description="Network: dense (valid convolutions; a feature depends on its window alone), lite0 "
        "(EfficientNet-Lite0, several layers on one grid) or resnet18 (the papers' image-level model).",
    )
    init: str = Field(
        "scratch",
        description="Initial weights: scratch (random), imagenet (lite0 only, from an installed package), or the path "
        "of a file of weights (.safetensors, or .pth as timm and torchvision write them).",
    )
    window: Literal[64, 32] = Field(
        64, description="Side in pixels of a feature's window; 32 goes with strides 4 and 8 (dense; CutPaste A.5: 32)."
    )
    stride: Literal[4, 8, 16] = Field(8, description="Stride of the grid in pixels of the resized frame (dense).")
    width: int = Field(32, ge=4, le=256, description="Channels of the first layer, 4 to 256 (dense).")
    dim: int = Field(256, ge=8, le=2048, description="Number of features of a window, 8 to 2048 (dense).")
    base_width: int = Field(  # torch 2.13 crashes on a CPU with 4 and 5 channels
        64,
        ge=8,
        le=256,
        multiple_of=8,
        description="Channels of the first layer and an eighth of the features, a multiple of 8 from 8 to 256 "
        "(resnet18; the papers: 64; 16 can be trained on a CPU).",
    )
    blocks: tuple[int, ...] = Field(
        (2, 4, 7, 10), description="Rising indices, 0 to 15, of the blocks whose outputs are the features (lite0)."
    )

    @model_validator(mode="after")
    def _known(self) -> EncoderConfig:
        if self.name == "dense" and self.init != "scratch":
            raise ValueError(f"the dense encoder has no pre-trained weights: init must be scratch, not {self.init}")
        if self.name == "dense" and self.window == 32 and self.stride == 16:
            raise ValueError("encoder.window=32 goes with encoder.stride=4 or 8, not 16")
        if (
            not self.blocks
            or sorted(set(self.blocks)) != list(self.blocks)
            or not 0 <= self.blocks[0] <= self.blocks[-1] <= 15
        ):
            raise ValueError(f"blocks must rise within 0..15, not {self.blocks}")
        return self
