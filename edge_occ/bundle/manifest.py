"""``manifest.json``: the description of a bundle."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from edge_occ.bundle.crop import Crop
from edge_occ.bundle.pose import Pose
from edge_occ.bundle.pre_stage import PreStage
from edge_occ.bundle.provenance import ModelSelection, Precision, Recalibrated, Record, Training
from edge_occ.bundle.recipe import Recipe
from edge_occ.bundle.tiles import Tiling
from edge_occ.common.size import Size
from engines.limits import MAX_PIXELS
from engines.parity import TOLERANCE

FORMAT = 6
"""Version of the format; a reader refuses newer ones.

2 added graphs in less than fp32, with their measurements; 3 several heads in one graph, and encoders that are not exact
window by window; 4 downscaling before the graph, which changes the scores of large frames, and the count of copies
among the training images; 5 resized frames that are not square, parts that are turned to one pose, tiles, tensors of
heads in float16, whitenings without quarters of zeros, and the recipe of the heads; 6 crops.  Heads of other kinds than
Gaussians needed no new version: an older reader refuses a bundle without a Gaussian's tensors."""

_MEMBER_LIMIT = 2 << 30


_Side = Annotated[int, Field(ge=1, le=4096)]
"""Pixels, or positions; trainer.config makes images of as many pixels at most as a square of 2048."""


def _square(size: object) -> object:
    """Return the height and width of a square of which a manifest before format 5 has the side alone."""
    return (size, size) if isinstance(size, int) else size


_FrameSide = Annotated[int, Field(ge=1, le=65_536)]

_First = Annotated[int, Field(ge=0, le=65_535)]

_Tiles = Annotated[int, Field(ge=1, le=16)]
"""Tiles along an axis."""

_Share = Annotated[float, Field(gt=0, le=1)]


class Member(Record):
    """One file of the bundle."""

    size: int = Field(ge=0, le=_MEMBER_LIMIT)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Geometry(Record):
    """The way of a frame to the encoder.  The graph contains all but pose, crop, tiles and downscaling."""

    size: Annotated[tuple[_Side, _Side], BeforeValidator(_square)] = Field(
        description="height and width in pixels that frames are resized to"
    )
    branch: int = Field(0, ge=0, description="the encoder that window, stride and grid are of")
    exact: bool = Field(True, description="whether its features depend on their windows alone")
    window: _Side = Field(description="side of a window in resized pixels")
    stride: _Side = Field(description="grid stride in resized pixels")
    grid: tuple[_Side, _Side] = Field(description="rows and columns of windows")
    downscaling: Literal["halving"] | None = Field(
        None, description="what edge_occ/bundle/downscale.py does to large frames before the graph; null: nothing"
    )
    pose: Pose | None = Field(
        None, description="how parts are turned, centred and cut out; null: the frame stays whole"
    )
    frame: tuple[_FrameSide, _FrameSide] | None = Field(
        description="height and width of the training images; null if they differed"
    )
    crop: tuple[_First, _First, _FrameSide, _FrameSide] | None = Field(
        None,
        description="first row, first column, height and width in pixels of the training images of the rectangle that "
        "the graph sees of them, and of other frames the same share (edge_occ/bundle/crop.py); null: all",
    )
    tiles: tuple[_Tiles, _Tiles, Annotated[float, Field(ge=0, le=0.5)]] | None = Field(
        None,
        description="columns and rows of tiles that edge_occ/bundle/tiles.py cuts frames into before the graph, and "
        "the share of a tile that the next one has too; size, window and grid are those of a tile; null: none",
    )

    @property
    def tiling(self) -> Tiling | None:
        """The cutting of frames into tiles; ``None``: they stay whole."""
        return None if self.tiles is None else Tiling(*self.tiles, self.size)

    @property
    def map_size(self) -> Size:
        """Height and width in resized pixels of what :attr:`viewed` has: of all tiles together."""
        return self.size if self.tiling is None else self.tiling.map_size

    @property
    def pre_stage(self) -> PreStage | None:
        """The stage that frames pass before the graph; ``None``: nothing, in bundles before format 4."""
        if not self.downscaling and self.pose is None:
            return None
        crop = None if self.crop is None or self.frame is None else Crop(*self.crop, self.frame)
        return PreStage(self.size, self.pose, self.tiling, crop)

    @property
    def viewed(self) -> Size | None:
        """Height and width in frame pixels of what the graph sees, cut-out or frame; ``None`` if frames differed."""
        if self.pose is not None:
            return self.pose.height, self.pose.width
        return self.frame if self.crop is None else self.crop[2:]

    @model_validator(mode="after")
    def _fits(self) -> Geometry:
        # Elsewhere the window is nominal: a position sees beyond the image.
        axes = zip(self.grid, self.size, strict=True)
        if self.exact and any((positions - 1) * self.stride + self.window > side for positions, side in axes):
            raise ValueError(f"{self.grid} windows of {self.window} every {self.stride} in {self.size} pixels")
        if self.crop is not None:
            if self.frame is None or self.downscaling is None or self.pose is not None or self.tiles is not None:
                raise ValueError("a crop without a frame and its downscaling, or with a pose or tiles")
            if any(
                first + side > whole
                for first, side, whole in zip(self.crop[:2], self.crop[2:], self.frame, strict=True)
            ):
                raise ValueError(f"a crop {self.crop} of frames of {self.frame}")
        if self.tiles is not None:
            if self.frame is None or self.downscaling is None or self.pose is not None:
                raise ValueError("tiles without a frame and its downscaling, or of parts with a pose")
            larger = any(side > whole for side, whole in zip(self.map_size, self.frame, strict=True))
            if larger or self.frame[0] * self.frame[1] > MAX_PIXELS:
                raise ValueError(f"tiles of {self.map_size} pixels in frames of {self.frame}")
        return self


class Calibration(Record):
    """The threshold and its guarantee."""

    false_alarm_rate: float = Field(ge=1e-6, lt=0.5, description="declared share of good parts above the threshold")
    threshold: float = Field(description="scores above it are anomalous")
    n: int = Field(ge=1, le=10**9, description="scores behind the threshold: one of each held-out normal part")
    expected: _Share = Field(description="expected share of good parts above the threshold, given n")
    upper_95: _Share = Field(description="95 % upper confidence bound of that share")
    certified: bool = Field(description="false if n is too small for the declared rate (n < 1/rate - 1)")
    median: float = Field(description="median held-out score; heatmaps begin here")


class Manifest(Record):
    """``manifest.json``."""

    format: Literal[1, 2, 3, 4, 5, 6] = 6
    created_at: str
    edge_occ: str
    geometry: Geometry
    head: dict[str, Any]
    calibration: Calibration
    precisions: dict[str, Precision] = Field({})
    training: Training
    recipe: Recipe | None = Field(
        None, description="how the heads were fitted; null: a device cannot fit them, or an older edge-occ made them"
    )
    recalibrated: Recalibrated | None = Field(None, description="on new normal frames; null: as it was trained")
    model_selection: ModelSelection | None = Field(None, alias="choice")
    parity_tolerance: dict[str, float]
    metrics: dict[str, float]
    licences: str
    members: dict[str, Member]

    @property
    def identity(self) -> str:
        """Sixteen hexadecimal digits that differ from one bundle to another: a digest of those of all members."""
        listed = "".join(f"{name} {member.sha256}\n" for name, member in sorted(self.members.items()))
        return hashlib.sha256(listed.encode()).hexdigest()[:16]

    @model_validator(mode="after")
    def _complete(self) -> Manifest:
        for name in self.members:
            part, _, precision = name.removesuffix(".onnx").partition(".")
            if part == "graph" and precision not in self.parity_tolerance:
                raise ValueError(f"{name} has no parity tolerance")
        for precision, tolerance in self.parity_tolerance.items():
            if not 0 < tolerance <= TOLERANCE.get(precision, 0):
                raise ValueError(f"a parity tolerance of {tolerance} for {precision}, not {TOLERANCE.get(precision)}")
        return self
