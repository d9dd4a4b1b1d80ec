"""``manifest.json``: the description of a bundle."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from edge_occ.bundle.pose import Pose
from edge_occ.bundle.pre_stage import PreStage
from edge_occ.bundle.recipe import Recipe
from edge_occ.bundle.tiles import Tiling
from edge_occ.common.size import Size
from engines.limits import MAX_PIXELS
from engines.parity import TOLERANCE

FORMAT = 5
"""Version of the format; a reader refuses newer ones.

2 added graphs in less than fp32, with their measurements; 3 several heads in one graph, and encoders that are not exact
window by window; 4 downscaling before the graph, which changes the scores of large frames, and the count of copies
among the training images; 5 resized frames that are not square, parts that are turned to one pose, tiles, tensors of
heads in float16, whitenings without quarters of zeros, and the recipe of the heads.  Heads of other kinds than
Gaussians needed no new version: an older reader refuses a bundle without a Gaussian's tensors."""

_MEMBER_LIMIT = 2 << 30


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


_Side = Annotated[int, Field(ge=1, le=4096)]
"""Pixels, or positions; trainer.config makes images of as many pixels at most as a square of 2048."""


def _square(size: object) -> object:
    """Return the height and width of a square of which a manifest before format 5 has the side alone."""
    return (size, size) if isinstance(size, int) else size


_FrameSide = Annotated[int, Field(ge=1, le=65_536)]

_Tiles = Annotated[int, Field(ge=1, le=16)]
"""Tiles along an axis."""

_Share = Annotated[float, Field(gt=0, le=1)]


class Member(_Record):
    """One file of the bundle."""

    size: int = Field(ge=0, le=_MEMBER_LIMIT)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Geometry(_Record):
    """The way of a frame to the encoder.  The graph contains all but pose, tiles and downscaling."""

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
        """What is done to frames before the graph; ``None``: nothing, in bundles before format 4."""
        return PreStage(self.size, self.pose, self.tiling) if self.downscaling or self.pose else None

    @property
    def viewed(self) -> Size | None:
        """Height and width in frame pixels of what the graph sees, cut-out or frame; ``None`` if frames differed."""
        return self.frame if self.pose is None else (self.pose.height, self.pose.width)

    @model_validator(mode="after")
    def _fits(self) -> Geometry:
        # Elsewhere the window is nominal: a position sees beyond the image.
        axes = zip(self.grid, self.size, strict=True)
        if self.exact and any((positions - 1) * self.stride + self.window > side for positions, side in axes):
            raise ValueError(f"{self.grid} windows of {self.window} every {self.stride} in {self.size} pixels")
        if self.tiles is not None:
            if self.frame is None or self.downscaling is None or self.pose is not None:
                raise ValueError("tiles without a frame and its downscaling, or of parts with a pose")
            larger = any(side > whole for side, whole in zip(self.map_size, self.frame, strict=True))
            if larger or self.frame[0] * self.frame[1] > MAX_PIXELS:
                raise ValueError(f"tiles of {self.map_size} pixels in frames of {self.frame}")
        return self


class Calibration(_Record):
    """The threshold and its guarantee."""

    false_alarm_rate: float = Field(ge=1e-6, lt=0.5, description="declared share of good parts above the threshold")
    threshold: float = Field(description="scores above it are anomalous")
    n: int = Field(ge=1, le=10**9, description="scores behind the threshold: one of each held-out normal part")
    expected: _Share = Field(description="expected share of good parts above the threshold, given n")
    upper_95: _Share = Field(description="95 % upper confidence bound of that share")
    certified: bool = Field(description="false if n is too small for the declared rate (n < 1/rate - 1)")
    median: float = Field(description="median held-out score; heatmaps begin here")


class Precision(_Record):
    """A graph in less than fp32, compared with fp32 on held-out good parts and on some with something pasted."""

    included: bool = Field(description="whether the bundle holds it")
    images: int = Field(description="images compared, good and pasted")
    agreement: float = Field(description="share of them with the verdict of fp32")
    auroc: float = Field(description="image AUROC of good against pasted")
    auroc_fp32: float = Field(description="the same of fp32")
    score_error: float = Field(description="largest relative difference of an image score from fp32's")
    flagged: int = Field(description="good parts that it calls anomalous, each by a head that had not seen it")
    flagged_fp32: int = Field(description="the same of fp32")
    reason: str | None = Field(description="why it is not included")


class CandidateHead(_Record):
    """A head that model selection compared, with its figures on synthetic defects on held-out normal images."""

    encoder: str
    scope: str = Field(description="which positions share a Gaussian")
    in_region: bool = Field(False, description="whether it scores the region alone")
    standardised: bool = Field(False, description="whether its scores are standardised position by position")
    sigma: float = Field(description="smoothing of its map, pixels")
    image_score: str = Field(description="max or top")
    top_fraction: float | None = Field(None, description="share of the map that top averages")
    power: float | None = Field(None, description="share of defects found at the declared false-alarm rate")
    objective: float | None = Field(None, description="the same, the mean over some multiples of the rate")
    image_auroc: float = Field(description="good parts against defects, the mean over the generators")
    pixel_auroc: float | None = Field(
        description="changed pixels against all others, the mean over the generators; null where it makes no map"
    )
    score_weight: float = Field(description="in the image score, 0 if not taken")
    map_weight: float = Field(description="in the score map, 0 if not taken")


class ModelSelection(_Record):
    """The result of model selection, which uses no real defect."""

    alignment: float = Field(description="share of the features' variance that the position explains, 0 to 1")
    aligned: bool = Field(description="whether that is enough for parts that lie in the same place")
    candidates: tuple[CandidateHead, ...]
    image_auroc: float = Field(description="of what was taken")
    pixel_auroc: float = Field(description="of what was taken")
    power: float | None = Field(None, description="share of defects that it finds at the declared false-alarm rate")
    defects: int | None = Field(None, description="number of synthetic defects")


_Level = Annotated[float, Field(ge=0, le=255)]
"""A grey level, or a difference of two."""


class Exposure(_Record):
    """Brightness of the training images, lowest and highest: what the guards of a run compare frames with."""

    mean: tuple[_Level, _Level] = Field(description="of an image's mean grey level, 0 to 255")
    deviation: tuple[_Level, _Level] = Field(description="of the standard deviation of its grey levels")
    repeated_rows: float = Field(ge=0, le=1, description="largest share of an image's rows that repeat in one run")
    sharpness: float | None = Field(
        None, ge=0, le=1, description="lowest contrast of an image's neighbouring pixels; null: not measured"
    )


class Training(_Record):
    """The origin of the bundle."""

    command: str
    preset: str
    seed: int
    steps: int
    seconds: float
    images: int = Field(description="that were learned from, each content once")
    parts: int | None = Field(None, description="how many different parts they show; null: not counted, one each")
    copies: tuple[str, ...] = Field((), description="images left out as their pixels are those of another")
    look_alike: bool = Field(False, description="whether no two images differ by more than shots of one part do")
    skipped: tuple[str, ...] = Field(description="images left out for another reason")
    excluded: tuple[str, ...] = Field(
        (), description="images that a person called defective, taken out of heads and threshold after the training"
    )
    conversions: tuple[str, ...]
    colour: bool | None = Field(None, description="whether the images have colours; null if mixed or not known")
    white: int | None = Field(
        None, ge=255, le=65535, description="value of 16-bit images that becomes 255; null if there were none"
    )
    exposure: Exposure | None = Field(None, description="brightness of the images; null: not known")
    data_sha256: str
    software: dict[str, str]
    config: dict[str, Any]

    @property
    def white_level(self) -> int | None:
        """The argument of :func:`edge_occ.common.images.read_image`; bundles without a value were made with 65535."""
        return 65535 if self.white is None and "16-bit" in self.conversions else self.white


class Recalibrated(_Record):
    """A recalibration on new normal frames, the last one."""

    at: str = Field(description="time, UTC, RFC 3339")
    parent: str = Field(pattern="^[0-9a-f]{64}$", description="sha256 of the file that was recalibrated")
    threshold_only: bool = Field(description="whether the heads stayed, and only the threshold is new")
    frames: int = Field(ge=1, description="new frames that could be used")
    left_out: dict[str, int] = Field({}, description="frames that could not, by reason")
    held_out: int = Field(ge=0, description="the last of these frames, which the new threshold was checked on")
    false_alarms: int = Field(ge=0, description="of them, those above the new threshold")


class Manifest(_Record):
    """``manifest.json``."""

    format: Literal[1, 2, 3, 4, 5] = 5
    created_at: str
    edge_occ: str
    geometry: Geometry
    head: dict[str, Any]
    calibration: Calibration
    precisions: dict[str, Precision] = {}
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
