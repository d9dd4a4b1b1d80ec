"""A bundle without some of its good images: heads and threshold again from stored features, in seconds.

No image is read, no encoder is loaded and no graph is exported: heads are inputs of the graph.
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
from trainer.data.images import MIN_IMAGES
from trainer.encoders.build import make_encoder
from trainer.graph.branches import Branch, make_branch
from trainer.own_files import check_writable, require_own_bundle
from trainer.report.model_card import model_card
from trainer.review.collect import stored_features
from trainer.review.exchange import exchange
from trainer.review.judgements import defective_images
from trainer.review.stored_features import (
    GoodImages,
    StoredFeatures,
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
        excluded: images that were taken out this time.
        left_out: a sentence for each precision that the new bundle does not have any more.
        seconds: duration.
    """

    before: Manifest
    after: Manifest
    excluded: Sequence[str]
    left_out: Sequence[str]
    seconds: float


def refit(path: Path, exclude: Path, out: Path, sha256: str | None = None) -> Refit:
    """Fit heads and threshold without the images that a person called defective, and write a new bundle.

    Args:
        path: the bundle; it is not changed.
        exclude: the judgements, as the page of a review saves them.
        out: the new bundle; its features are stored beside it.
        sha256: digest that the bundle must have, if given.

    Raises:
        InputError: no stored features, judgements that do not fit, too few images left, or ``out`` cannot be written.
        BundleRefused: the bundle is damaged.
        ParityFailure: this machine does not compute what the trainer did.
    """
    begun = time.monotonic()
    _check_places(path, out)
    bundle = read_bundle(path, sha256)
    manifest = bundle.manifest
    if manifest.recalibrated is not None:
        raise InputError(
            "a threshold from the training images, which a refit calibrates it on",
            f"{path}, calibrated on others at {manifest.recalibrated.at}",
            "remove the defective pictures and train again with --calibration, or recalibrate the refitted bundle",
        )
    stored = read_features(path, manifest)
    excluded = defective_images(exclude, path, manifest, stored.images.names)
    kept = without(stored, excluded)
    config = _config(manifest)
    branches = _branches(config, manifest.geometry.size, stored.region)
    calibrator = HeadCalibrator(branches, config, manifest.training.seed, kept.images.parts)
    features = [torch.from_numpy(of.astype(np.float32)) for of in kept.features]
    held_out = calibrator.held_out_grids(features)
    fitted = calibrator.fit(features, held_out)
    exchanged = exchange(bundle, fitted, branches, calibrator)
    fields = _fields(manifest, config, kept.images, excluded, fitted.calibration, exchanged)
    members = {**exchanged.members, MODEL_CARD: model_card(fields, exchanged.parity).encode()}
    left = stored_features(kept.images, features, held_out, calibrator, branches, fitted.head, kept.region)
    written = write_bundle(out, fields, members)
    write_features(features_path(out), left, written)
    return Refit(manifest, written, excluded, exchanged.left_out, time.monotonic() - begun)


def without(stored: StoredFeatures, excluded: Sequence[str]) -> StoredFeatures:
    """Return the features of the images that are left, and of their changed copies; parts are numbered anew.

    Raises:
        InputError: they show fewer parts than a training takes.
    """
    images = stored.images
    keep = np.array([name not in set(excluded) for name in images.names])
    left = np.flatnonzero(keep)
    _, parts = np.unique(np.array(images.parts)[left], return_inverse=True)
    different = len(set(parts.tolist()))
    if different < MIN_IMAGES:
        raise InputError(
            f"images of at least {MIN_IMAGES} different good parts",
            f"{different} without the defective ones",
            "take pictures of more good parts and train again",
        )
    return StoredFeatures(
        GoodImages(
            folder=images.folder,
            data_sha256=images.data_sha256,
            names=tuple(images.names[i] for i in left),
            parts=tuple(parts.tolist()),
            digests=tuple(images.digests[i] for i in left),
        ),
        stored.scores[left],
        tuple(of[np.tile(keep, len(of) // len(keep))] for of in stored.features),
        None if stored.maps is None else stored.maps[left],
        stored.region,
    )


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
    training = manifest.training.model_copy(
        update={
            "images": n,
            "parts": len(set(images.parts)),
            "excluded": (*manifest.training.excluded, *excluded),
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
