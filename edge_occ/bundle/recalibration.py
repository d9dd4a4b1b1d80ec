"""A bundle recalibrated on new normal frames: heads and threshold from their features, or the threshold alone.

The last frames are held out: the new threshold is taken only if its false alarms among them do not contradict the
bound that the bundle then records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.bundle import HEAD, MODEL_CARD, Bundle, make_bundle
from edge_occ.bundle.conformal import ConformalThreshold, calibrate, max_false_alarms
from edge_occ.bundle.exchange import Preview, exchange_head, graph_engine, prepared
from edge_occ.bundle.fit_heads import FittedHeads, HeadFitter
from edge_occ.bundle.fusion import one_score_a_part
from edge_occ.bundle.gaussian import SingularCovariance
from edge_occ.bundle.guarantee import images_needed, share_in_words
from edge_occ.bundle.manifest import Calibration, Manifest
from edge_occ.bundle.provenance import Exposure, Recalibrated
from edge_occ.bundle.recalibrated import recalibrated_card, recalibrated_fields
from edge_occ.bundle.sample_grid import Features
from edge_occ.bundle.tensors import head_member, refused
from edge_occ.common.errors import InputError
from engines.base import Engine
from engines.errors import GraphRefused

HELD_OUT_SHARE, MIN_HELD_OUT = 0.2, 5
"""Share of the frames that the new threshold is checked on, and how many are left for that at least."""

MIN_FRAMES = 8
"""Smallest number of frames that a threshold is calibrated on, as many as a training takes."""


@dataclass(frozen=True)
class NewFrames:
    """Measurements of the new normal frames, in the order of their capture.

    Attributes:
        features: for each branch, ``[frames * tiles, rows, columns, d]``; empty if only the threshold is renewed.
        scores: by the bundle's own heads, ``[frames]``; empty if the heads are fitted.
        tiles: number of tiles of a frame; 1 where they stay whole.
        exposure: brightness of the frames.
        colour: whether they have colours; ``None`` if only some do.
        left_out: number of frames that could not be used, by reason.
    """

    features: tuple[Features, ...]
    scores: NDArray[np.float64]
    tiles: int
    exposure: Exposure
    colour: bool | None
    left_out: Mapping[str, int]

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.features[0]) // self.tiles if self.features else len(self.scores)


@dataclass(frozen=True)
class Recalibration:
    """A recalibrated bundle, not written yet; its head can be put into a running engine.

    Attributes:
        before: manifest of the bundle that was recalibrated.
        bundle: the new one.
        record: what its manifest says of the recalibration.
        left_out: a sentence for each precision that the new bundle does not have any more.
    """

    before: Manifest
    bundle: Bundle
    record: Recalibrated
    left_out: Sequence[str]

    @property
    def threshold(self) -> ConformalThreshold:
        """The verdicts' new rule."""
        return self.bundle.conformal_threshold()


def require_fitter(bundle: Bundle) -> HeadFitter:
    """Return what fits the heads of a bundle, after a check that it computes the graph's scores of the golden frames.

    Raises:
        InputError: a device cannot fit these heads.
        BundleRefused: recipe and graph do not belong together.
        ParityFailure, EngineUnavailable: this machine does not compute what the trainer did.
    """
    recipe, geometry = bundle.manifest.recipe, bundle.manifest.geometry
    if recipe is None:
        raise InputError(
            "a bundle whose heads are Gaussians of patches, with a recipe to fit them",
            "heads of another kind, or a bundle of an older edge-occ",
            "use --threshold-only, or train again",
        )
    golden = bundle.golden()
    try:
        fitter = HeadFitter(recipe, geometry.size)
        with closing(graph_engine(bundle)) as engine:
            features = _golden_features(engine, prepared(bundle, golden).frames)
        found = fitter.scores(bundle.head, features)
    except (ValueError, KeyError, IndexError) as error:
        raise refused("a recipe that belongs to the graph", str(error)) from error
    scale = np.maximum(golden.scores, golden.threshold)
    if not (np.abs(found - golden.scores) <= bundle.tolerance("fp32") * scale).all():
        worst = float((np.abs(found - golden.scores) / scale).max())
        raise refused("a recipe that gives the graph's scores of the golden frames", f"an error of {worst:.1e}")
    return fitter


def frames_needed(false_alarm_rate: float) -> int:
    """Return the smallest number of new frames that certifies a rate, those of the check among them."""
    return max(MIN_FRAMES, images_needed(false_alarm_rate)) + MIN_HELD_OUT


def held_out_count(frames: int, false_alarm_rate: float) -> int:
    """Return how many of the frames are held out: a fifth, or fewer where the others must certify the rate."""
    spare = frames - max(MIN_FRAMES, images_needed(false_alarm_rate))
    return max(MIN_HELD_OUT, min(round(HELD_OUT_SHARE * frames), spare))


def recalibrate(
    bundle: Bundle, frames: NewFrames, fitter: HeadFitter | None, parent: str, preview: Preview
) -> Recalibration:
    """Return the bundle with heads and threshold, or the threshold alone, from new normal frames.

    Args:
        bundle: the current one.
        frames: the new ones.
        fitter: of :func:`require_fitter`; ``None``: the heads stay.
        parent: sha256 of the bundle's file.
        preview: makes the bundle's picture.

    Raises:
        InputError: too few frames, frames that do not vary, or more false alarms among the held-out frames than the
            new bound allows.
        BundleRefused: the new bundle would not be consistent.
        ParityFailure: this machine does not compute what the trainer did.
    """
    rate = bundle.manifest.calibration.false_alarm_rate
    require_frames(frames.count, rate, fits=fitter is not None)
    held_out = held_out_count(frames.count, rate)
    first = frames.count - held_out
    if fitter is None:
        calibration = calibrate(frames.scores[:first], rate)
        fitted = FittedHeads(bundle.head, frames.scores[:first], calibration)
        checked = frames.scores[first:]
    else:
        fitted = _fit(fitter, frames, first, rate)
        of_tiles = fitter.scores(fitted.head, [of[first * frames.tiles :] for of in frames.features])
        checked = one_score_a_part(of_tiles, np.repeat(np.arange(held_out), frames.tiles))
    false_alarms = int((checked > fitted.calibration.threshold).sum())
    _require_bound(false_alarms, held_out, fitted.calibration, first)
    record = Recalibrated(
        at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        parent=parent,
        threshold_only=fitter is None,
        frames=frames.count,
        left_out=dict(frames.left_out),
        held_out=held_out,
        false_alarms=false_alarms,
    )
    fields = recalibrated_fields(bundle.manifest, fitted.calibration, (frames.exposure, frames.colour), record)
    left_out: Sequence[str] = ()
    if fitter is None:
        members = {**bundle.members, HEAD: head_member(fitted.head, fitted.held_out)}
    else:
        members, changed, left_out = _exchanged(bundle, fitted, fitter, preview)
        fields |= changed
    members[MODEL_CARD] = recalibrated_card(bundle.model_card, fitted.calibration, record).encode()
    return Recalibration(bundle.manifest, make_bundle(fields, members), record, left_out)


def require_frames(count: int, rate: float, *, fits: bool) -> None:
    """Check that frames are enough to recalibrate, for a declared rate, heads that are fitted or only the threshold.

    Raises:
        InputError: they are too few.
    """
    needed = frames_needed(rate) if fits else MIN_FRAMES + MIN_HELD_OUT
    if count >= needed:
        return
    if not fits:
        raise InputError(
            f"at least {needed} frames for a new threshold", f"{count} that can be used", "take more frames"
        )
    raise InputError(
        f"at least {needed} frames: {needed - MIN_HELD_OUT} for the declared rate of {share_in_words(rate)}, and "
        f"{MIN_HELD_OUT} to check it on",
        f"{count} that can be used",
        "take more frames, each of another part; --threshold-only keeps the heads and takes fewer",
    )


def _fit(fitter: HeadFitter, frames: NewFrames, first: int, rate: float) -> FittedHeads:
    """Fit on the first frames."""
    try:
        return fitter.fit(
            [of[: first * frames.tiles] for of in frames.features], rate, np.repeat(np.arange(first), frames.tiles)
        )
    except SingularCovariance as error:
        raise InputError(
            "frames that vary enough for a head", str(error), "take frames of different parts, not of one that stands"
        ) from error


def _require_bound(false_alarms: int, held_out: int, calibration: Calibration, first: int) -> None:
    allowed = max_false_alarms(held_out, calibration.upper_95)
    if false_alarms > allowed:
        raise InputError(
            f"at most {allowed} false alarms among {held_out} frames that were held out",
            f"{false_alarms} above the threshold of the {first} frames before them",
            "nothing was changed; the last frames differ from the first: take good parts alone, one frame a part, and "
            "all kinds of them from the beginning",
        )


def _exchanged(
    bundle: Bundle, fitted: FittedHeads, fitter: HeadFitter, preview: Preview
) -> tuple[dict[str, bytes], dict[str, object], Sequence[str]]:
    """Return the members, the fields of the manifest that follow from them, and which precisions are left out."""

    def reference(
        engine: Engine, golden: Sequence[NDArray[np.uint8]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        features = _golden_features(engine, golden)
        return fitter.scores(fitted.head, features).astype(np.float32), fitter.maps(fitted.head, features)

    try:
        exchanged = exchange_head(bundle, fitted, reference, preview)
    except GraphRefused as error:
        raise refused("a recipe that belongs to the graph", error.found) from error
    changed: dict[str, object] = {"precisions": exchanged.precisions, "parity_tolerance": exchanged.tolerances}
    return dict(exchanged.members), changed, exchanged.left_out


def _golden_features(engine: Engine, golden: Sequence[NDArray[np.uint8]]) -> list[Features]:
    return [np.stack(of_branch) for of_branch in zip(*map(engine.features, golden), strict=True)]
