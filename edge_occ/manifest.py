"""``manifest.json``: what a bundle says of itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FORMAT = 4
"""Version of the format; a reader refuses newer ones.  2 added graphs in less than fp32, with what was measured of
them; 3 several heads in one graph, and encoders that are not exact window by window.  Heads of
other kinds than Gaussians needed none: an older reader misses a Gaussian's tensors, and refuses.  4 added downscaling
before the graph, without which large frames have other scores."""

_MEMBER_LIMIT = 2 << 30


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Member(_Record):
    """One file of the bundle."""

    size: int = Field(ge=0, le=_MEMBER_LIMIT)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Geometry(_Record):
    """What happens to a frame; all but the downscaling for information, as the graph itself is what counts."""

    size: int = Field(description="side in pixels that frames are resized to")
    branch: int = Field(0, description="the encoder that window, stride and grid are of")
    exact: bool = Field(True, description="whether its features depend on their windows alone")
    window: int = Field(description="side of a window in resized pixels")
    stride: int = Field(description="grid stride in resized pixels")
    grid: tuple[int, int] = Field(description="rows and columns of windows")
    downscaling: Literal["halving"] | None = Field(
        None, description="what edge_occ/downscale.py does to large frames before the graph; null: nothing"
    )
    frame: tuple[int, int] | None = Field(description="height and width of the training images; null if they differed")


class Calibration(_Record):
    """The threshold and the promise that comes with it."""

    false_alarm_rate: float = Field(description="declared share of good parts above the threshold")
    threshold: float = Field(description="scores above it are anomalous")
    n: int = Field(description="held-out normal images behind the threshold")
    expected: float = Field(description="expected share of good parts above the threshold, given n")
    upper_95: float = Field(description="95 % upper confidence bound of that share")
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


class Candidate(_Record):
    """A head that could be taken, judged by synthetic defects on held-out good parts."""

    encoder: str
    scope: str = Field(description="which positions share a Gaussian")
    sigma: float = Field(description="smoothing of its map, pixels")
    image_score: str = Field(description="max or top")
    image_auroc: float = Field(description="good parts against defects, the mean over the generators")
    pixel_auroc: float = Field(description="changed pixels against all others, the mean over the generators")
    score_weight: float = Field(description="in the image score, 0 if not taken")
    map_weight: float = Field(description="in the score map, 0 if not taken")


class Choice(_Record):
    """What was chosen without any real defect, and from what."""

    alignment: float = Field(description="share of the features' variance that the position explains, 0 to 1")
    aligned: bool = Field(description="whether that is enough for parts that lie in the same place")
    candidates: tuple[Candidate, ...]
    image_auroc: float = Field(description="of what was taken")
    pixel_auroc: float = Field(description="of what was taken")


class Training(_Record):
    """How the bundle came to be."""

    command: str
    preset: str
    seed: int
    steps: int
    seconds: float
    images: int
    skipped: tuple[str, ...]
    conversions: tuple[str, ...]
    data_sha256: str
    software: dict[str, str]
    config: dict[str, Any]


class Manifest(_Record):
    """``manifest.json``."""

    format: Literal[1, 2, 3, 4] = 4
    created_at: str
    edge_occ: str
    geometry: Geometry
    head: dict[str, Any]
    calibration: Calibration
    precisions: dict[str, Precision] = {}
    training: Training
    choice: Choice | None = None
    parity_tolerance: dict[str, float]
    metrics: dict[str, float]
    licences: str
    members: dict[str, Member]

    @model_validator(mode="after")
    def _complete(self) -> Manifest:
        for name in self.members:
            part, _, precision = name.removesuffix(".onnx").partition(".")
            if part == "graph" and precision not in self.parity_tolerance:
                raise ValueError(f"{name} has no parity tolerance")
        return self
