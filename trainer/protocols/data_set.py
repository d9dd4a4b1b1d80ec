"""What every data set of the first paper has: a place on disk, categories, and a split for each.

The paper is "Learning and Evaluating Representations for Deep One-class Classification" (Sohn et al., ICLR 2021).  Its
protocols are one against the rest: train on the training images of one class alone, test on all test images, of which
those of the other classes are anomalous.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from edge_occ.common.progress import ProgressReport
from trainer.protocols.formats.files import Layout, content_hash, missing

_LISTED = 8
"""How many names of a foreign folder an error tells."""
_MANY_FILES = 1000
"""From here on hashing takes long enough to be shown."""


@dataclass(frozen=True, eq=False)
class OneClass:
    """One experiment.

    Attributes:
        name: data set and normal class.
        train: normal images, RGB uint8 ``[n, 3, s, s]``.
        test: RGB uint8 ``[m, 3, s, s]``.
        anomalous: which test images are not of the normal class, bool ``[m]``.
    """

    name: str
    train: NDArray[np.uint8]
    test: NDArray[np.uint8]
    anomalous: NDArray[np.bool_]


@dataclass(frozen=True)
class DataSet(ABC):
    """A data set and its protocol.

    Attributes:
        name: for the command line.
        title: for people.
        side: pixels of the square images that the protocol makes.
        categories: the classes that are normal in one experiment each.
        folders: usual names of its folder.
        layouts: what that folder holds; any of them will do, the first is preferred.
        advice: where to get it.
    """

    name: str
    title: str
    side: int
    categories: tuple[str, ...]
    folders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    advice: str

    def find(self, data: Path) -> Path:
        """The data set's folder: ``data`` itself, or one of the usual names in it.

        Raises:
            InputError: no such folder, the data set is not there, or some of its files are not.
        """
        if not data.is_dir():
            raise InputError(f"a folder of data sets at {data}", "no such folder", "name an existing one with --data")
        incomplete: tuple[Path, list[str]] | None = None
        for folder in (data, *(data / name for name in self.folders)):
            for layout in self.layouts:
                lacks = missing(folder, layout)
                if not lacks:
                    return folder
                if len(lacks) < len(layout) and (incomplete is None or len(lacks) < len(incomplete[1])):
                    incomplete = folder, lacks
        if incomplete:
            raise InputError(
                f"all files of {self.title} in {incomplete[0]}", f"no {', no '.join(incomplete[1])}", self.advice
            )
        wanted = ", ".join(group[0] for group in self.layouts[0])
        raise InputError(
            f"{self.title} in {data}, or in {', '.join(self.folders)} there: {wanted}", _content(data), self.advice
        )

    @abstractmethod
    def available(self, data: Path) -> tuple[str, ...]:
        """Categories with any images to train on, without decoding pictures.

        Raises:
            InputError: as :meth:`find`, or a damaged file.
        """

    def load(self, data: Path, category: str) -> OneClass:
        """The experiment with one category as the normal class.

        Raises:
            InputError: unknown category, as :meth:`find`, a damaged file, or not as many images as were published.
        """
        self.check_known(category)
        return self._load(self.find(data), category)

    def fingerprint(self, data: Path, category: str) -> str:
        """SHA-256 of the protocol, the category, and the names and contents of all files that it reads.

        Contents and not dates, because a fresh copy has other dates and the same images; names without folders, because
        the same files may lie in either of two layouts.

        Raises:
            InputError: unknown category, as :meth:`find`, or a file that cannot be read.
        """
        self.check_known(category)
        folder = self.find(data)
        paths = sorted(self._files(folder), key=lambda path: path.name)
        whole = hashlib.sha256(f"{self.name} {category}\n".encode())
        shown = len(paths) >= _MANY_FILES
        with ProgressReport(f"hashing {self.title}", len(paths)) if shown else nullcontext() as progress:
            for path in paths:
                whole.update(f"{path.name} {content_hash(path)}\n".encode())
                if progress:
                    progress.advance()
        return whole.hexdigest()

    def check_known(self, category: str) -> None:
        """Refuse a name that is no category.

        Raises:
            InputError: the known ones are listed.
        """
        if category not in self.categories:
            raise InputError(
                f"a category of {self.title}: {', '.join(self.categories)}", repr(category), "choose with --categories"
            )

    @abstractmethod
    def _load(self, folder: Path, category: str) -> OneClass: ...

    @abstractmethod
    def _files(self, folder: Path) -> Sequence[Path]:
        """All files that the experiments of a folder read."""


def _content(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more if names else "an empty folder"
