"""A bundle without some of its good images, or with frames of events: heads and threshold again, in seconds.

Features are stored ones; the bundle's graph computes those of frames of events.  No image of the training is read and
no graph is exported: heads are inputs of the graph.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_occ import __version__
from edge_occ.bundle.bundle import MODEL_CARD, read_bundle, write_bundle
from edge_occ.bundle.exchange import Exchanged
from edge_occ.bundle.manifest import Calibration, Manifest
from edge_occ.common.errors import InputError
from edge_occ.common.size import Size
from trainer.calibration.fit_heads import HeadCalibrator
from trainer.config import TrainConfig
from trainer.encoders.build import make_encoder
from trainer.graph.branches import Branch, make_branch
from trainer.own_files import check_writable, require_own_bundle
from trainer.report.model_card import model_card
from trainer.review.added_frames import AddedFrames, added_frames, events_of_one_camera, is_added, withdrawn
from trainer.review.changed_images import with_frames, without
from trainer.review.collect import stored_features
from trainer.review.exchange import exchange
from trainer.review.judgements import defective_images
from trainer.review.stored_features import (
    GoodImages,
    features_path,
    read_features,
    require_own_features,
    write_features,
)


@dataclass(frozen=True)
class Refit:
    """A bundle that was written.

    Attributes:
        before: manifest of the bundle that was given.
        after: of the one that was written.
        excluded: images that were taken out this time: called defective, or frames of events that are marked as defects
            by now.
        added: frames of events marked as good that were added this time.
        left_out: a sentence for each precision that the new bundle does not have any more.
        seconds: duration.
    """

    before: Manifest
    after: Manifest
    excluded: Sequence[str]
    added: AddedFrames
    left_out: Sequence[str]
    seconds: float


def refit(
    path: Path, exclude: Path | None, out: Path, sha256: str | None = None, *, evidence: Path | None = None
) -> Refit:
    """Fit heads and threshold without images called defective and with frames of events marked as good.

    Args:
        path: the bundle; it is not changed.
        exclude: the judgements, as the page of a review saves them.
        out: the new bundle; its features are stored next to it.
        sha256: digest that the bundle must have, if given.
        evidence: folder of marked events, of one camera.

    Raises:
        InputError: neither judgements nor evidence, no stored features, judgements or frames that do not fit, nothing
            to change, too few images left, or ``out`` cannot be written.
        BundleRefused: the bundle is damaged.
        ParityFailure: this machine does not compute what the trainer did.
    """
    begun = time.monotonic()
    _check_places(path, out)
    if exclude is None and evidence is None:
        raise InputError("--exclude FILE, --evidence DIR or both", "neither", "say what the refit is to change")
    bundle = read_bundle(path, sha256)
    manifest = bundle.manifest
    if manifest.recalibrated is not None:
        raise InputError(
            "a threshold from the training images, which a refit calibrates it on",
            f"{path}, calibrated on others at {manifest.recalibrated.at}",
            "remove the defective pictures and train again with --calibration, or recalibrate the refitted bundle",
        )
    stored, config = read_features(path, manifest), _config(manifest)
    names = stored.images.names
    called = () if exclude is None else defective_images(exclude, path, manifest, names)
    events = [] if evidence is None else events_of_one_camera(evidence)
    excluded = tuple(dict.fromkeys((*called, *withdrawn(names, events))))
    kept = without(stored, excluded)
    added = added_frames(bundle, kept.images, events, config.camera_changes)
    if not excluded and not added.names:
        raise InputError(
            f"frames of events marked as good in {evidence} that are not among the good images yet",
            f"none; {added.known} are among them, {added.without_pose} have no pose",
            f"nothing is to be done: {path.name} is right as it is",
        )
    images, of_images = with_frames(kept, added)
    branches = _branches(config, manifest.geometry.size, stored.region)
    calibrator = HeadCalibrator(branches, config, manifest.training.seed, images.parts)
    features = [torch.from_numpy(of.astype(np.float32)) for of in of_images]
    held_out = calibrator.held_out_grids(features)
    fitted = calibrator.fit(features, held_out)
    exchanged = exchange(bundle, fitted, branches, calibrator)
    fields = _fields(manifest, config, images, excluded, fitted.calibration, exchanged)
    members = {**exchanged.members, MODEL_CARD: model_card(fields, exchanged.parity).encode()}
    left = stored_features(images, features, held_out, calibrator, branches, fitted.head, kept.region)
    written = write_bundle(out, fields, members)
    write_features(features_path(out), left, written)
    return Refit(manifest, written, excluded, added, exchanged.left_out, time.monotonic() - begun)


def _check_places(path: Path, out: Path) -> None:
    if out.suffix != ".occ":
        raise InputError("a bundle's name that ends in .occ", str(out), f"use --out {out.with_suffix('.occ')}")
    if out.resolve() == path.resolve():
        raise InputError(
            f"another file than {path} for the new bundle",
            f"--out {out}",
            "choose another one, so that the old bundle stays; without --out it is NAME-refit.occ",
        )
    require_own_bundle(out)
    require_own_features(features_path(out))
    check_writable(out.parent, "--out")


def _config(manifest: Manifest) -> TrainConfig:
    """The settings of the training.

    Raises:
        InputError: this version does not know them.
    """
    try:
        return TrainConfig.model_validate(manifest.training.config)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(
            f"settings that edge-occ {__version__} knows",
            f"{'.'.join(map(str, first['loc']))} of edge-occ {manifest.edge_occ}: {first['msg']}",
            f"use edge-occ {manifest.edge_occ}, or train again",
        ) from error


def _branches(config: TrainConfig, size: Size, mask: NDArray[np.bool_] | None) -> list[Branch]:
    """The branches for what follows their features: their encoders have random weights and are not used."""
    branches = []
    for branch in config.branches:
        encoder = make_encoder(branch.encoder.model_copy(update={"init": "scratch"}), size)
        branches.append(make_branch(encoder, branch, size, mask).eval())
    return branches


def _fields(
    manifest: Manifest,
    config: TrainConfig,
    images: GoodImages,
    excluded: Sequence[str],
    calibration: Calibration,
    exchanged: Exchanged,
) -> dict[str, object]:
    """The fields of the new manifest, all but the format and the members."""
    n = len(images.names)
    # A frame whose mark went back to good is not excluded any more.
    taken_out = (*manifest.training.excluded, *excluded)
    training = manifest.training.model_copy(
        update={
            "images": n,
            "parts": len(set(images.parts)),
            "excluded": tuple(name for name in taken_out if name not in images.names),
            "added": tuple(filter(is_added, images.names)),
        }
    )
    same = {name: getattr(manifest, name) for name in Manifest.model_fields if name not in ("format", "members")}
    return {
        **same,
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "edge_occ": __version__,
        "head": {**manifest.head, "samples_side": config.head.samples_side(n)},
        "calibration": calibration,
        "precisions": exchanged.precisions,
        "parity_tolerance": exchanged.tolerances,
        "training": training,
    }
