"""A bundle whose good images hold two with a spot, and what a person's file about them looks like."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from discs import part, spoil, write
from small_training import SMALL

from edge_occ.bundle.bundle import read_bundle
from trainer.config import TrainConfig
from trainer.job import Job
from trainer.review.stored_features import features_path
from trainer.train import train

Once = Callable[[str, Callable[[Path], object]], Path]
Judge = Callable[..., Path]

SPOILT = ("train/good/005.png", "train/good/011.png")
SETTINGS = {**SMALL, "optimiser": {"steps": 3, "batch": 2}}


@pytest.fixture(scope="session")
def spoilt_data(once: Once) -> Path:
    """24 images of good parts, two of them with a spot; not to be changed."""

    def make(folder: Path) -> None:
        for i in range(24):
            image = part(i)
            if f"train/good/{i:03}.png" in SPOILT:
                spoil(image, "spot", i, hidden=False)
            write(folder / "train" / "good" / f"{i:03}.png", image)

    return once("spoilt-data/discs", make)


@pytest.fixture(scope="session")
def spoilt_bundle(spoilt_data: Path, once: Once) -> Path:
    """A bundle of these, with its features next to it; not to be changed."""
    config = TrainConfig.model_validate(SETTINGS)
    return once(
        "spoilt-bundle/discs.occ",
        lambda out: train(Job(spoilt_data, out, config, "small", 0, "cpu", "edge-occ train")),
    )


@pytest.fixture(scope="session")
def whole_image_bundle(spoilt_data: Path, once: Once) -> Path:
    """A bundle with one feature of the whole image, which has no place; not to be changed."""
    config = TrainConfig.model_validate(
        {
            **SMALL,
            "encoder": {"name": "resnet18", "base_width": 8},
            "pretext": {"name": "none"},
            "head": {"dim": 8, "scope": "shared"},
            "input": {"size": 64},
        }
    )
    return once(
        "whole-image/discs.occ",
        lambda out: train(Job(spoilt_data, out, config, "small", 0, "cpu", "edge-occ train")),
    )


@pytest.fixture
def judged(tmp_path: Path) -> Judge:
    """Writes the file of a review: of this bundle, with these images called defective, and other labels."""

    def write_file(bundle: Path, defective: Sequence[str] = SPOILT, **others: str) -> Path:
        path = tmp_path / "review.json"
        labels = {**others, **dict.fromkeys(defective, "defective")}
        content = {"schema": "edge-occ/review/1", "bundle": read_bundle(bundle).manifest.identity, "labels": labels}
        path.write_text(json.dumps(content))
        return path

    return write_file


@pytest.fixture
def own_bundle(spoilt_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle and of its features, to be changed."""
    shutil.copy(features_path(spoilt_bundle), tmp_path)
    return Path(shutil.copy(spoilt_bundle, tmp_path))
