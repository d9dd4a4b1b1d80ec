"""Labelled sets below a folder: in the MVTec layout, magnetic tiles in their own, and solar cells of a package.

* Magnetic tiles (Huang et al., 2018) are a folder with ``MT_Free/Imgs`` and one folder a defect, pictures as JPEG and
  masks of the same name as PNG.  They have no official split: every fifth free tile is for the test.  Defects whose
  mask is black are left out.
* Solar cells are split as in :mod:`trainer.data.solar_cells`; they have no masks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images, read_unconverted
from trainer.data.layout import GOOD, LabelledImage, find_labelled_images

SOLAR_CELLS = "solar_cells"
"""Name of the set from the package elpv-dataset."""

_DEPTH = 2
_FREE = "MT_Free"
_TILES_HELD_BACK = 5


@dataclass(frozen=True)
class LabelledSet:
    """A labelled set.

    Attributes:
        train: images to train with, by the names that their files are to have.
        test: labelled images; none of them is among the others.
    """

    train: Mapping[str, Path]
    test: tuple[LabelledImage, ...]

    def files(self) -> dict[str, Path]:
        """Return all files by their place in the MVTec layout."""
        places = {f"train/{GOOD}/{name}": path for name, path in self.train.items()}
        for image in self.test:
            places[f"test/{image.kind}/{image.path.name}"] = image.path
            for number, mask in enumerate(image.masks):
                places[f"ground_truth/{image.kind}/{image.path.stem}/{number}{mask.suffix}"] = mask
        return places

    def link(self, folder: Path) -> None:
        """Make the MVTec layout in an empty folder, of symbolic links."""
        for place, path in self.files().items():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).symlink_to(path.resolve())

    def fingerprint(self) -> str:
        """Return a hash of places and contents of all files."""
        whole = hashlib.sha256()
        for place, path in sorted(self.files().items()):
            whole.update(f"{place} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return whole.hexdigest()


def find_sets(data: Path) -> dict[str, Path]:
    """Return the folders of all sets by name: a folder itself, or those one or two levels below it.

    The solar cells are always among them if their package is installed.

    Raises:
        InputError: there is no such folder, no set in it, or two sets of one name.
    """
    if not data.is_dir():
        raise InputError(f"a folder of labelled sets at {data}", "no such folder", "name an existing one with --data")
    folders = [data]
    for _ in range(_DEPTH):
        folders += [
            path
            for folder in folders
            if not _is_set(folder)
            for path in sorted(folder.iterdir())
            if path.is_dir() and path not in folders
        ]
    sets: dict[str, Path] = {}
    for folder in filter(_is_set, folders):
        name = folder.name if folder != data else data.resolve().name
        if name in sets:
            raise InputError(f"sets of different names in {data}", f"{sets[name]} and {folder}", "rename one of them")
        sets[name] = folder
    if not sets:
        raise InputError(
            f"folders with train/good and test/good in {data}", "none", "name a folder of sets in the MVTec layout"
        )
    package = find_spec("elpv_dataset")
    if package is not None and package.origin is not None:
        sets.setdefault(SOLAR_CELLS, Path(package.origin).parent)
    return sets


@contextmanager
def opened(name: str, folder: Path) -> Iterator[LabelledSet]:
    """Yield a set that :func:`find_sets` found; its files exist until the context ends.

    Raises:
        InputError: a folder of it holds no images.
    """
    if is_mvtec(folder):
        yield LabelledSet(_named(find_images(folder / "train" / GOOD)), tuple(find_labelled_images(folder)))
    elif name == SOLAR_CELLS:
        with TemporaryDirectory() as temporary:
            yield _solar_cells(Path(temporary) / "cells")
    else:
        yield _magnetic_tiles(folder)


def is_mvtec(folder: Path) -> bool:
    """Return whether a folder is a set in the MVTec layout."""
    return all((folder / part / GOOD).is_dir() for part in ("train", "test"))


def _is_set(folder: Path) -> bool:
    return is_mvtec(folder) or (folder / _FREE / "Imgs").is_dir()


def _magnetic_tiles(folder: Path) -> LabelledSet:
    free = find_images(folder / _FREE / "Imgs" / "*.jpg")
    held_back = free[_TILES_HELD_BACK - 1 :: _TILES_HELD_BACK]
    defects = []
    for kind in sorted(path for path in folder.glob("MT_*/Imgs") if path.parent.name != _FREE):
        for path in find_images(kind / "*.jpg"):
            mask = path.with_suffix(".png")
            if read_unconverted(mask).any():
                defects.append(LabelledImage(path, kind.parent.name.removeprefix("MT_").lower(), (mask,)))
    return LabelledSet(
        _named(path for path in free if path not in held_back),
        (*(LabelledImage(path, GOOD) for path in held_back), *defects),
    )


def _solar_cells(folder: Path) -> LabelledSet:
    # The package is installed with the demo alone.
    from trainer.data.solar_cells import prepare_solar_cells  # noqa: PLC0415

    cells = prepare_solar_cells(folder)
    test = (
        LabelledImage(path, "defective" if cells.defective[path.name] else GOOD) for path in find_images(cells.stream)
    )
    return LabelledSet(_named(find_images(cells.train)), tuple(test))


def _named(paths: Iterable[Path]) -> dict[str, Path]:
    return {path.name: path for path in paths}
