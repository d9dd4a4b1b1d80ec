"""Origin of a bundle, in its manifest: images, training, model selection, precisions and recalibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from edge_occ.common.exposure import Light


class Record(BaseModel):
    """A part of the manifest: no unknown key, no infinite number, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


_Level = Annotated[float, Field(ge=0, le=255)]
"""A grey level, or a difference of two."""


class Exposure(Record):
    """Brightness of the training images, lowest and highest: what the guards of a run compare frames with."""

    mean: tuple[_Level, _Level] = Field(description="of an image's mean grey level, 0 to 255")
    deviation: tuple[_Level, _Level] = Field(description="of the standard deviation of its grey levels")
    repeated_rows: float = Field(ge=0, le=1, description="largest share of an image's rows that repeat in one run")
    sharpness: float | None = Field(
        None, ge=0, le=1, description="lowest contrast of an image's neighbouring pixels; null: not measured"
    )
    levels: tuple[tuple[_Level, _Level], tuple[_Level, _Level], tuple[_Level, _Level]] | None = Field(
        None, description="of the values below which 10, 50 and 90 % of an image's pixels lie; null: not measured"
    )

    @classmethod
    def of(cls, images: Sequence[Light]) -> Exposure:
        """Return the brightness of at least one image, in 8 bits."""
        means, deviations, dark, middle, bright = (
            (round(min(values), 3), round(max(values), 3))
            for values in zip(*((image.mean, image.deviation, *image.levels) for image in images), strict=True)
        )
        return cls(
            mean=means,
            deviation=deviations,
            repeated_rows=max(image.repeated_rows for image in images),
            sharpness=round(min(image.sharpness for image in images), 4),
            levels=(dark, middle, bright),
        )

    def joined(self, other: Exposure) -> Exposure:
        """Return the brightness of the images of both; what one lacks is not measured."""
        levels = None
        if self.levels is not None and other.levels is not None:
            dark, middle, bright = map(_spanned, self.levels, other.levels)
            levels = (dark, middle, bright)
        sharpness = None
        if self.sharpness is not None and other.sharpness is not None:
            sharpness = min(self.sharpness, other.sharpness)
        return Exposure(
            mean=_spanned(self.mean, other.mean),
            deviation=_spanned(self.deviation, other.deviation),
            repeated_rows=max(self.repeated_rows, other.repeated_rows),
            sharpness=sharpness,
            levels=levels,
        )


def _spanned(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])


class Training(Record):
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
    added: tuple[str, ...] = Field(
        (), description="among the images: frames of events that a person marked as good, added after the training"
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


class Precision(Record):
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


class CandidateHead(Record):
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


class ModelSelection(Record):
    """The result of model selection, which uses no real defect."""

    alignment: float = Field(description="share of the features' variance that the position explains, 0 to 1")
    aligned: bool = Field(description="whether that is enough for parts that lie in the same place")
    candidates: tuple[CandidateHead, ...]
    image_auroc: float = Field(description="of what was taken")
    pixel_auroc: float = Field(description="of what was taken")
    power: float | None = Field(None, description="share of defects that it finds at the declared false-alarm rate")
    defects: int | None = Field(None, description="number of synthetic defects")


class Recalibrated(Record):
    """A recalibration on new normal frames, the last one."""

    at: str = Field(description="time, UTC, RFC 3339")
    parent: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="sha256 of the file that was recalibrated; in a training, of its manifest",
    )
    threshold_only: bool = Field(description="whether the heads stayed, and only the threshold is new")
    frames: int = Field(ge=1, description="new frames that could be used")
    left_out: dict[str, int] = Field({}, description="frames that could not, by reason")
    held_out: int = Field(ge=0, description="the last of these frames, which the new threshold was checked on")
    false_alarms: int = Field(ge=0, description="of them, those above the new threshold")
