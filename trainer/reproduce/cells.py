"""The cells of a table, each a row, a category and a seed, and the store of finished ones."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError
from safetensors import SafetensorError, safe_open

from edge_occ.common.files import atomic_write
from trainer.config import TrainConfig
from trainer.own_files import check_writable
from trainer.reproduce.provenance import Provenance
from trainer.reproduce.table import Procedure, Row

_CHECKPOINT = re.compile(r"[0-9a-f]{64}\.safetensors")


@dataclass(frozen=True)
class Cell:
    """One training and measurement of a table.

    Attributes:
        data: the category's folder.
        fingerprint: hash of its files.
    """

    procedure: Procedure
    row: Row
    category: str
    seed: int
    data: Path
    fingerprint: str
    config: TrainConfig

    @property
    def key(self) -> str:
        """Hash of procedure, version, settings, seed and data; cells with equal keys have equal figures."""
        return _hash([self.procedure.name, self.procedure.version, *self._training])

    @property
    def bundle_key(self) -> str:
        """Hash of settings, seed and data; cells with equal keys share a bundle, whatever is measured on it."""
        return _hash(["bundle", *self._training])

    @property
    def _training(self) -> list[object]:
        settings = self.config.model_dump(mode="json")
        for branch in (settings, *settings["further_branches"]):
            branch["optimiser"].pop("checkpoint_seconds")  # changes no figure
            if branch["pretext"]["name"] == "none":
                for section in ("pretext", "views", "optimiser"):
                    branch[section] = None  # nothing is trained
        change = [asdict(self.row.change)] if self.row.change else []
        return [self.row.preset, settings, self.seed, self.fingerprint, *change]

    def __str__(self) -> str:
        return f"{self.row.name}, {self.category}, seed {self.seed}"


class CellResult(BaseModel):
    """The result of a cell, as stored in its file.

    Attributes:
        key: the cell's key; a file under another name is rejected.
        values: metrics as fractions of 1; ``None`` where undefined.
        updates: training steps of pretraining.
        seconds: duration of training and measurement.
        made: code, machine and date.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    values: dict[str, FiniteFloat | None]
    updates: int
    seconds: float
    made: Provenance


class Store:
    """A folder of encoders, bundles and results that later commands reuse.

    Args:
        folder: created if it does not exist.
        say: prints a line for the user.

    Attributes:
        encoders: folder of the checkpoints of pretraining.

    Raises:
        InputError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._cells, self._bundles, self._say = folder / "cells", folder / "bundles", say
        self.encoders = folder / "encoders"
        for place in (self._cells, self._bundles, self.encoders):
            check_writable(place, "--work")

    def result(self, cell: Cell) -> CellResult | None:
        """Return the result of a finished cell, or ``None``; a damaged file is reported and removed."""
        path = self._path(cell)
        if not path.exists():
            return None
        try:
            result = CellResult.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            result = None
        if result is not None and result.key == cell.key:
            return result
        self._say(f"the result of {cell} is damaged: the cell is repeated")
        path.unlink(missing_ok=True)
        return None

    def keep(self, cell: Cell, result: CellResult) -> None:
        """Write a result atomically."""
        with atomic_write(self._path(cell)) as file:
            file.write(result.model_dump_json(indent=1).encode())

    def bundle(self, cell: Cell) -> Path:
        """Return the path of the cell's bundle."""
        return self._bundles / f"{cell.category}-{cell.bundle_key}.occ"

    def picture(self, cell: Cell) -> Path:
        """Return the path of the cell's heatmaps."""
        return self._path(cell).with_suffix(".jpg")

    def begun(self, cell: Cell) -> bool:
        """Return whether an interrupted training can be resumed."""
        return self.bundle(cell).with_suffix(".train").exists()

    def _path(self, cell: Cell) -> Path:
        return self._cells / f"{cell.key}.json"


def drop_damaged(encoders: Path, say: Callable[[str], None]) -> None:
    """Remove and report damaged checkpoints; files with other names are left alone."""
    for checkpoint in encoders.glob("*.safetensors"):
        if _CHECKPOINT.fullmatch(checkpoint.name) and not _is_whole(checkpoint):
            say(f"the checkpoint {checkpoint.name} is damaged: its training starts again")
            checkpoint.unlink()


def _is_whole(checkpoint: Path) -> bool:
    try:
        with safe_open(checkpoint, framework="pt"):
            return True
    except (SafetensorError, OSError):
        return False


def _hash(content: list[object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
