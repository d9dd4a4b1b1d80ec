"""A training to run: its settings, and the places of its files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge_occ.bundle.manifest import Manifest
from edge_occ.common.errors import InputError
from trainer.config import TrainConfig
from trainer.own_files import (
    check_writable,
    foreign,
    require_outside,
    require_own_bundle,
    require_own_page,
)
from trainer.review.stored_features import features_path, require_own_features

CHECKPOINTS = re.compile(r"\.?checkpoint(-\d+)?\.safetensors(\..+\.part)?")
"""Names of a training's checkpoints, including those that a power cut left incomplete."""


@dataclass(frozen=True)
class Job:
    """A training to run.

    Attributes:
        data: MVTec layout or a folder of normal images.
        out: file of the bundle, ``.occ``.
        config: all settings.
        preset: name of the preset, for the manifest.
        seed: of everything random.
        device: ``auto``, ``cpu`` or ``cuda``.
        command: as typed, for the manifest.
        calibration: normal images of another session, from which the threshold is calibrated; ``None``: from the data's
            own, each held out.
        restart: whether to discard the checkpoints of an earlier run.
        encoders: folder in which trained encoders are kept, for other trainings with equal pretraining; ``None``: the
            checkpoints are removed when the bundle is written.
    """

    data: Path
    out: Path
    config: TrainConfig
    preset: str
    seed: int
    device: str
    command: str
    restart: bool = False
    calibration: Path | None = None
    encoders: Path | None = None

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, which exists until the bundle is written."""
        return self.out.with_suffix(".train")

    @property
    def report(self) -> Path:
        """File of the page about the training."""
        return self.out.with_suffix(".html")

    @property
    def features(self) -> Path:
        """File of the good images' features, for review and refit."""
        return features_path(self.out)

    def checkpoint(self, branch: int, fingerprint: str) -> Path:
        """Return the checkpoint file of a branch's encoder."""
        if self.encoders is not None:
            return self.encoders / f"{fingerprint}.safetensors"
        return self.checkpoints / ("checkpoint.safetensors" if branch == 0 else f"checkpoint-{branch}.safetensors")


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        manifest: of the bundle.
        report: the page.
        odd: how many of the good images look odd, see :mod:`trainer.review.oddness`.
    """

    manifest: Manifest
    report: Path
    odd: int


def check_places(job: Job) -> None:
    """Check before the training that its files can be written and replace no file of another program.

    Raises:
        InputError: they cannot, or would.
    """
    out = job.out
    if out.suffix != ".occ":
        raise InputError("a bundle's name that ends in .occ", str(out), f"use --out {out.with_suffix('.occ')}")
    for place in (out, job.report, job.checkpoints):
        require_outside(place, job.data, "--out")
    require_own_bundle(out)
    require_own_page(job.report, "--out")
    if job.config.keeps_features:
        require_own_features(job.features)
    other = foreign(job.checkpoints, CHECKPOINTS)
    if other is not None:
        raise InputError(
            f"no folder or an earlier training's checkpoints at {job.checkpoints}",
            f"{other}, which edge-occ did not write",
            "choose another place with --out",
        )
    check_writable(out.parent, "--out")
