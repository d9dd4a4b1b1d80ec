"""Settings of the input and of the encoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge_occ.bundle.tiles import Tiling
from edge_occ.common.size import Size
from trainer.config.section import Section

_Side = Annotated[int, Field(ge=32, le=2048)]
_Tiles = Annotated[int, Field(ge=1, le=16)]

MULTIPLE = 32
"""Sides of images that are not square are multiples of it, as of the strides of all encoders."""

MIN_SIDE = 64
"""Smallest side of images that are not square: a window of the dense encoder."""

MAX_SIDE = 4096
"""Largest side of images that are not square, and the largest that a manifest allows."""


class InputConfig(Section):
    """The resizing of frames."""

    size: _Side | tuple[_Side, _Side] = Field(
        256,
        description="Size that every frame is resized to: the side in pixels of a square, 32 to 2048, whose number of "
        "pixels limits frames that are not square, which keep their shape; or [height, width].",
    )

    tiles: tuple[_Tiles, _Tiles, Annotated[float, Field(ge=0, le=0.5)]] | None = Field(
        None,
        description="Tiles that large frames are cut into: [columns, rows, overlap], 1 to 16 each and the share of a "
        "tile that the next one has too, 0 to 0.5. input.size is then that of a tile; parts are not turned, and there "
        "is no region, review or refit.",
    )

    def tiling(self, size: Size) -> Tiling | None:
        """Return the cutting of frames into tiles that are resized to this size; ``None`` without tiles."""
        return None if self.tiles is None else Tiling(*self.tiles, size)

    def resized(self, frame: Size) -> Size:
        """Return the size that frames of this size, or their tiles, are resized to.

        Frames that are not square get multiples of 32 pixels, at least 64, and together no more pixels than the
        square.  Of these sizes it is the one with the finest detail along the axis that loses more of it, and the
        fewest pixels that give as much; the square itself where no size fits.
        """
        if not isinstance(self.size, int):
            return self.size
        square = (self.size, self.size)
        tiling = self.tiling(square)
        frame = frame if tiling is None else tiling.tile(frame)
        if frame[0] == frame[1]:
            return square
        budget = self.size * self.size
        sizes = (
            (height, width)
            for height in range(MIN_SIDE, MAX_SIDE + 1, MULTIPLE)
            for width in range(MIN_SIDE, min(budget // height, MAX_SIDE) + 1, MULTIPLE)
        )

        def detail(size: Size) -> tuple[int, int]:
            # Whole numbers in the order of height / frame height and width / frame width, without rounding.
            return min(size[0] * frame[1], size[1] * frame[0]), -size[0] * size[1]

        return max(sizes, key=detail, default=square)


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
