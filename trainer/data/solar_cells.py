"""Real industrial images from an installable package: electroluminescence images of solar cells (elpv-dataset).

2,624 cells of 44 modules, 300x300 pixels, each with a defect probability by experts (Deitsch et al., 2021).  The images
are licensed CC BY-NC-SA 4.0; they are copied into the demo's folder, never into the project.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from elpv_dataset.utils import load_dataset

from edge_occ.common.errors import InputError

LICENCE = "elpv-dataset, CC BY-NC-SA 4.0: no commercial use (https://github.com/zae-bayern/elpv-dataset)"
_TRAIN_SHARE = 0.7


@dataclass(frozen=True)
class SolarCells:
    """Folders of the images.

    Attributes:
        train: folder of cells without defects, for training.
        stream: folder of held-out cells, good and defective, shuffled under neutral names.
        defective: label of each file in ``stream``, used by the final comparison alone.
    """

    train: Path
    stream: Path
    defective: dict[str, bool]


def prepare_solar_cells(folder: Path) -> SolarCells:
    """Write the monocrystalline cells of the package into a folder, or find them there.

    Of the cells that experts call certainly functional (probability 0), a random 70 % are for training; the rest of
    them and all certainly defective cells (probability 1) are the stream.  Doubtful cells are left out.

    Raises:
        InputError: the folder has other content.
    """
    labels = folder / "labels.json"
    if not labels.exists():
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise InputError(
                f"no folder or that of an earlier demo at {folder}",
                "one without labels.json, which the demo did not write",
                "move it away, or choose another with --folder",
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        # The folder is renamed into place, so that it is never found incomplete.
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            _write(Path(temporary) / folder.name)
            (Path(temporary) / folder.name).replace(folder)
    return SolarCells(folder / "train", folder / "stream", json.loads(labels.read_bytes()))


def _write(folder: Path) -> None:
    cells = SolarCells(folder / "train", folder / "stream", {})
    for part in (cells.train, cells.stream):
        part.mkdir(parents=True)
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
    (folder / "labels.json").write_text(json.dumps(cells.defective, indent=1))
