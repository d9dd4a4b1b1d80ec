"""The zip archive of a bundle: members without compression, each of them once, and bounded reads."""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edge_occ.bundle.tensors import refused
from edge_occ.common.errors import BundleRefused, InputError

_DAMAGE = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, struct.error)
"""Errors of zipfile: RuntimeError for encrypted members and, as a subclass, for features that it lacks; ValueError for
names that are not in their declared encoding and for offsets before the start of the file."""


class Archive:
    """The members of an open archive.

    Raises:
        BundleRefused: a member twice, or a compressed one.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            if info.filename in self._infos or info.compress_type != zipfile.ZIP_STORED:
                raise refused("each member once and uncompressed", f"another kind of entry: {info.filename!r}")
            self._infos[info.filename] = info

    @property
    def names(self) -> frozenset[str]:
        """Names of all members."""
        return frozenset(self._infos)

    def read(self, name: str, limit: int) -> bytes:
        """Return a member's content.

        Raises:
            BundleRefused: there is none of this name, or it is longer than ``limit`` bytes.
        """
        info = self._infos.get(name)
        if info is None:
            raise refused(name, "no such member")
        if info.file_size > limit:
            raise refused(f"{name} of at most {limit} bytes", f"{info.file_size} bytes")
        return self._archive.read(info)


@contextmanager
def open_archive(path: Path, sha256: str | None = None) -> Iterator[Archive]:
    """Open a bundle's archive; a file with another digest is not opened as a zip.

    Args:
        path: the file.
        sha256: digest that the file must have, if given.

    Raises:
        InputError: ``sha256`` is not a digest.
        BundleRefused: another digest, or not a complete zip archive.
    """
    try:
        with path.open("rb") as file:
            if sha256 is not None:
                _require_digest(file, sha256)
            with zipfile.ZipFile(file) as archive:
                yield Archive(archive)
    except _DAMAGE as error:
        raise refused("a complete zip archive", str(error)) from error


def _require_digest(file: BinaryIO, sha256: str) -> None:
    if re.fullmatch("[0-9a-fA-F]{64}", sha256) is None:
        raise InputError("a sha256 of 64 hexadecimal digits", repr(sha256), "run: sha256sum NAME.occ")
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    if digest.hexdigest() != sha256.lower():
        raise BundleRefused(
            f"a file with sha256 {sha256.lower()}",
            digest.hexdigest(),
            "copy the bundle again, or ask whoever made it for its digest",
        )
