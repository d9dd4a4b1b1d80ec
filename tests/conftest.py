"""Fixtures for all tests: the real images beside the checkout, a tiny data set, and a bundle made from it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode leaves helpers beside the tests out of the path
from mqtt_helpers import Mosquitto

# A busy machine must not fail a test: no example has a time limit.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real images and videos beside the checkout, ``shared/data``; for tests marked ``data``."""
    for folder in Path(__file__).resolve().parents:
        data = folder / "shared" / "data"
        if data.is_dir():
            return data
    pytest.skip("no shared/data beside the checkout")


SIDE = 112
TINY = {
    "input": {"size": 96},
    "encoder": {"width": 4, "dim": 16},
    "optimiser": {"steps": 1, "batch": 2},
    "head": {"dim": 8},
    "calibration": {"folds": 3},
}


def part(seed: int) -> NDArray[np.uint8]:
    """A grey disc on a noisy ground, ``[112, 112, 3]``."""
    noise = np.random.default_rng(seed).normal(60, 6, (SIDE, SIDE, 3))
    image = np.clip(noise, 0, 255).astype(np.uint8)
    cv2.circle(image, (SIDE // 2, SIDE // 2), 36, (150, 160, 170), -1, cv2.LINE_AA)
    return image


def spoil(image: NDArray[np.uint8], kind: str, seed: int, hidden: bool) -> NDArray[np.uint8]:
    """Draw a defect in place, unless it is one that nobody could see; returns its mask, 0 and 255."""
    x, y = (int(v) for v in np.random.default_rng(seed).integers(40, 72, 2))
    mask = np.zeros(image.shape[:2], np.uint8)
    if kind == "spot":
        cv2.circle(mask, (x, y), 9, 255, -1)
    else:
        cv2.line(mask, (x - 20, y - 8), (x + 20, y + 8), 255, 4)
    if not hidden:
        image[mask > 0] = (20, 20, 220)
    return mask


def write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def make_data(folder: Path) -> Path:
    """MVTec layout: 16 normal images, 6 good and 3 + 4 defective test images with masks; two defects are hidden."""
    for i in range(16):
        write(folder / "train" / "good" / f"{i:03}.png", part(i))
    for i in range(6):
        write(folder / "test" / "good" / f"{i:03}.png", part(100 + i))
    for kind, count in (("scratch", 3), ("spot", 4)):
        for i in range(count):
            image = part(200 + i)
            mask = spoil(image, kind, i, hidden=i == 0)
            write(folder / "test" / kind / f"{i:03}.png", image)
            write(folder / "ground_truth" / kind / f"{i:03}_mask.png", mask)
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled data set; not to be changed, copy it."""
    return make_data(tmp_path_factory.mktemp("tiny") / "discs")


@pytest.fixture(scope="session")
def tiny_bundle(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an encoder that was hardly trained; its report lies beside it."""
    # Imported here, as the device half of the suite runs without torch.
    from trainer.config import TrainConfig
    from trainer.train import Job, train

    out = tmp_path_factory.mktemp("bundle") / "discs.occ"
    config = TrainConfig.model_validate(TINY)
    train(Job(tiny_data, out, config, "tiny", seed=0, device="cpu", command="edge-occ train --data discs"))
    return out


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """One real broker for all tests that leave it alone."""
    mosquitto = Mosquitto(tmp_path_factory.mktemp("broker")).start()
    yield mosquitto
    mosquitto.stop()
