"""Real industrial images that install as a package: electroluminescence images of solar cells (elpv-dataset).

2,624 cells of 44 modules, 300x300 pixels, each with a defect probability by experts (Deitsch et al., 2021).  The images
are licensed CC BY-NC-SA 4.0; they are copied into the demo's folder, never into the project.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from elpv_dataset.utils import load_dataset

from edge_occ.files import atomic_write

LICENCE = "elpv-dataset, CC BY-NC-SA 4.0: no commercial use (https://github.com/zae-bayern/elpv-dataset)"
_TRAIN_SHARE = 0.7


@dataclass(frozen=True)
class SolarCells:
    """Where the images lie.

    Attributes:
        train: folder of cells without defects, to learn from.
        stream: folder of held-out cells, good and defective, shuffled under neutral names.
        defective: label of each file in ``stream``; nobody but the final comparison looks at it.
    """

    train: Path
    stream: Path
    defective: dict[str, bool]


def prepare_solar_cells(folder: Path) -> SolarCells:
    """Write the monocrystalline cells of the package into a folder, or find them there.

    Cells that the experts call certainly functional (probability 0) are split by chance, 70 % to train; the rest of
    them and all certainly defective ones (probability 1) make the stream.  Doubtful cells are left out.
    """
    cells = SolarCells(folder / "train", folder / "stream", {})
    labels = folder / "labels.json"
    if not labels.exists():
        for part in (cells.train, cells.stream):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        _write(cells)
        with atomic_write(labels) as file:
            file.write(json.dumps(cells.defective, indent=1).encode())
    return SolarCells(cells.train, cells.stream, json.loads(labels.read_bytes()))


def _write(cells: SolarCells) -> None:
    images, probability, kind = load_dataset()
    chance = np.random.default_rng(0)
    mono = kind == "mono"
    good = chance.permutation(np.flatnonzero(mono & (probability == 0)))
    split = int(_TRAIN_SHARE * len(good))
    for index in sorted(good[:split]):
        cv2.imwrite(str(cells.train / f"cell_{index:04d}.png"), images[index])
    bad = np.flatnonzero(mono & (probability == 1))
    order = chance.permutation(np.concatenate([good[split:], bad]))
    for place, index in enumerate(order):
        name = f"{place:04d}.png"
        cv2.imwrite(str(cells.stream / name), images[index])
        cells.defective[name] = bool(probability[index] == 1)
