"""Folders of a data set: one of normal images, or the layout of MVTec AD and of MVTec LOCO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from edge_occ.common.errors import InputError
from edge_occ.common.images import IMAGE_SUFFIXES, find_images
from edge_occ.common.printable import printable

GOOD = "good"

MAX_UNUSABLE = 0.01
"""Maximum share of unusable images in a folder."""

_ALSO_GOOD = frozenset(
    {"good", "goods", "goodparts", "ok", "okay", "okparts", "io", "gut", "normal", "pass", "passed", "nodefect"}
    | {"nodefects", "nondefective", "defectfree", "healthy"}
)
"""Other names of folders of good parts, letters alone, in lower case."""

_SYSTEM_PREFIXES = (".", "@", "#", "$", "__")
_SYSTEM_NAMES = frozenset({"lost+found", "system volume information"})
"""Folders that file managers, notebooks, archives and network drives make: ``.ipynb_checkpoints``, ``@eaDir``,
``#recycle``, ``$RECYCLE.BIN``, ``__MACOSX``."""


@dataclass(frozen=True)
class LabelledImage:
    """One test image.

    Attributes:
        path: file of the image.
        kind: ``good`` or the name of the defect.
        masks: files that together mark the defect; empty without ground truth.
    """

    path: Path
    kind: str
    masks: tuple[Path, ...] = ()

    @property
    def defective(self) -> bool:
        """True if the image shows a defect."""
        return self.kind != GOOD


def normal_folder(data: Path) -> Path:
    """Return the folder of normal images: ``data/train/good`` (MVTec layout) or ``data``; a glob pattern is unchanged.

    Raises:
        InputError: there is no such folder, a ``train`` without ``good``, or a ``test`` or ``ground_truth`` without
            ``train`` (an incomplete copy, in which other pictures are not known to be good).
    """
    if not data.exists() and has_magic(str(data)):
        return data
    if not data.is_dir():
        raise InputError(f"a folder of normal images at {data}", "no such folder", "name an existing one with --data")
    if (data / "train" / GOOD).is_dir():
        return data / "train" / GOOD
    if (data / "train").is_dir():
        kinds = ", ".join(folder.name for folder in _folders(data / "train")) or "no folder"
        raise InputError(
            f"{data}/train/good", f"{kinds} in {data}/train", "put the images of good parts into train/good"
        )
    labelled = [name for name in ("test", "ground_truth") if (data / name).is_dir()]
    if labelled:
        raise InputError(
            f"{data}/train/{GOOD}",
            f"{' and '.join(labelled)} without train in {data}",
            "put the images of good parts into train/good, or name a folder that holds nothing else",
        )
    return data


def image_names(data: Path, paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the names of images relative to their data folder, with slashes and printable.

    Args:
        data: the folder, or a glob pattern; the names are then relative to the last folder before its first wildcard.
        paths: of images in it.
    """
    outer = (data, *data.parents)
    base = data if data.is_dir() else next(folder for folder in outer if folder.is_dir() or not has_magic(str(folder)))
    return tuple(printable(path.relative_to(base).as_posix()) for path in paths)


def find_labelled_images(data: Path) -> list[LabelledImage]:
    """Return the test images in ``test/<kind>``, with masks in ``ground_truth/<kind>``.

    Masks may have any image type and any letter case: ``<name>_mask.png`` (MVTec AD), ``<name>.png``, or all files in a
    folder ``<name>`` (MVTec LOCO).  Folders made by the system are left out.

    Raises:
        InputError: no ``test`` folder, no images in it, good parts under another name than ``good``, or no mask that
            belongs to an image.
    """
    test = data / "test"
    if not test.is_dir():
        raise InputError(
            f"labelled images in {test}/good and {test}/<defect>",
            "no such folder",
            "use 'edge-occ score' without labels",
        )
    folders = _folders(test)
    _require_known_good(test, [folder.name for folder in folders])
    truth = _by_name(data).get("ground_truth")
    truths = _by_name(truth) if truth else {}
    images = []
    for folder in folders:
        marked = truths.get(folder.name.casefold())
        masks = _Masks(marked) if marked else None
        images += [LabelledImage(path, folder.name, masks.of(path) if masks else ()) for path in find_images(folder)]
    if not images:
        raise InputError(f"images in {test}/good and {test}/<defect>", "no folder", "check the layout")
    if truth:
        _require_a_match(images, truth)
    return images


def check_unusable(skipped: Sequence[str], total: int, folder: Path) -> None:
    """Refuse a set with too many unusable images.

    Raises:
        InputError: over 1 % of the images are unusable; the first is named.
    """
    if len(skipped) > MAX_UNUSABLE * total:
        raise InputError(
            f"at most {MAX_UNUSABLE:.0%} unusable images in {folder}",
            f"{len(skipped)} of {total}, the first being {skipped[0]}",
            "repair or remove them",
        )


class _Masks:
    """The masks of one folder, by the names of their images."""

    def __init__(self, folder: Path) -> None:
        entries = sorted(path for path in folder.iterdir() if not _made_by_system(path.name))
        self._folders = {path.name.casefold(): path for path in entries if path.is_dir()}
        files = [path for path in entries if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
        # Of several types of one name, PNG is taken (MVTec AD), else the first.
        files.sort(key=lambda path: path.suffix.lower() != ".png")
        self._files: dict[str, Path] = {}
        for path in files:
            self._files.setdefault(path.stem.casefold(), path)

    def of(self, image: Path) -> tuple[Path, ...]:
        name = image.stem.casefold()
        for stem in (f"{name}_mask", name):
            if stem in self._files:
                return (self._files[stem],)
        return tuple(find_images(self._folders[name])) if name in self._folders else ()


def _folders(where: Path) -> list[Path]:
    return sorted(path for path in where.iterdir() if path.is_dir() and not _made_by_system(path.name))


def _by_name(where: Path) -> dict[str, Path]:
    return {folder.name.casefold(): folder for folder in _folders(where)}


def _made_by_system(name: str) -> bool:
    return name.startswith(_SYSTEM_PREFIXES) or name.casefold() in _SYSTEM_NAMES


def _require_known_good(test: Path, kinds: Sequence[str]) -> None:
    """Refuse folders that are named like good parts, which would count as defects."""
    for kind in kinds:
        if kind != GOOD and "".join(filter(str.isalpha, kind.casefold())) in _ALSO_GOOD:
            raise InputError(
                f"good parts in {test / GOOD}, and every other folder of {test} a kind of defect",
                f"{test / kind}, which is named like good parts",
                f"move its pictures to {test / GOOD}, or give it the name of its defect",
            )


def _require_a_match(images: Sequence[LabelledImage], truth: Path) -> None:
    defects = [image for image in images if image.defective]
    if not defects or any(image.masks for image in defects):
        return
    files = [path for path in sorted(truth.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
    if files:
        first = defects[0]
        wanted = truth / first.kind / f"{first.path.stem}_mask.png"
        raise InputError(
            f"a mask named like its image: {wanted} or {wanted.with_name(f'{first.path.stem}.png')} for {first.path}",
            f"{len(files)} pictures in {truth}, such as {files[0].relative_to(truth)}, "
            f"and none that belongs to any of the {len(defects)} defects",
            f"rename them, or move {truth} away to evaluate without masks",
        )
