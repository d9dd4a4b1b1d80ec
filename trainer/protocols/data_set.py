"""The base class of the two-stage paper's data sets: a folder on disk, categories, and a split for each category.

The paper is "Learning and Evaluating Representations for Deep One-class Classification" (Sohn et al., ICLR 2021).  Its
protocols are one against the rest: train on the training images of one class alone, test on all test images; the images
of the other classes are anomalous.
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
"""Names that an error message lists of a folder without the data set."""
_MANY_FILES = 1000
"""Number of files from which hashing takes long enough for a progress bar."""


@dataclass(frozen=True, eq=False)
class OneClass:
    """One experiment.

    Attributes:
        name: data set and normal class.
        train: normal images, RGB uint8 ``[n, 3, s, s]``.
        test: RGB uint8 ``[m, 3, s, s]``.
        anomalous: true for the test images of other classes, bool ``[m]``.
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
        side: side of the protocol's square images in pixels.
        categories: the classes; each is the normal class of one experiment.
        folders: usual names of the data set's folder.
        layout: what that folder holds.
        advice: where to get the data set.
    """

    name: str
    title: str
    side: int
    categories: tuple[str, ...]
    folders: tuple[str, ...]
    layout: Layout
    advice: str

    def find(self, data: Path) -> Path:
        """The data set's folder: ``data`` itself, or one of the usual names in it.

        Raises:
            InputError: no such folder, or the data set or some of its files are missing.
        """
        if not data.is_dir():
            raise InputError(f"a folder of data sets at {data}", "no such folder", "name an existing one with --data")
        incomplete: tuple[Path, list[str]] | None = None
        for folder in (data, *(data / name for name in self.folders)):
            lacks = missing(folder, self.layout)
            if not lacks:
                return folder
            if len(lacks) < len(self.layout) and (incomplete is None or len(lacks) < len(incomplete[1])):
                incomplete = folder, lacks
        if incomplete:
            raise InputError(
                f"all files of {self.title} in {incomplete[0]}", f"no {', no '.join(incomplete[1])}", self.advice
            )
        wanted = ", ".join(group[0] for group in self.layout)
        raise InputError(
            f"{self.title} in {data}, or in {', '.join(self.folders)} there: {wanted}", _content(data), self.advice
        )

    @abstractmethod
    def available(self, data: Path) -> tuple[str, ...]:
        """List the categories with any training images, without decoding pictures.

        Raises:
            InputError: as :meth:`find`, or a damaged file.
        """

    def load(self, data: Path, category: str) -> OneClass:
        """Read the experiment with one category as the normal class.

        Raises:
            InputError: unknown category, as :meth:`find`, a damaged file, or another number of images than published.
        """
        self.check_known(category)
        return self._load(self.find(data), category)

    def fingerprint(self, data: Path, category: str) -> str:
        """Return the SHA-256 of the protocol, the category, and the names and contents of all files that it reads.

        Dates do not count, because a fresh copy has other dates and the same images.  Folders do not count, because
        the same files may lie in folders of different names.

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
        """Raise an error for an unknown category.

        Raises:
            InputError: the category is unknown; the message lists the known ones.
        """
        if category not in self.categories:
            raise InputError(
                f"a category of {self.title}: {', '.join(self.categories)}", repr(category), "choose with --categories"
            )

    @abstractmethod
    def _load(self, folder: Path, category: str) -> OneClass: ...

    @abstractmethod
    def _files(self, folder: Path) -> Sequence[Path]:
        """List all files that the experiments on a folder read."""


def _content(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more if names else "an empty folder"
