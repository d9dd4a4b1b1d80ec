"""Pictures of a folder, a pattern or a single file, as a reel."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError, SourceLost
from edge_occ.common.images import find_images
from edge_occ.sources.faults import Unscored, read_picture


class Pictures:
    """The pictures of a folder, a pattern or a single file, in natural order.

    A damaged or missing one yields an :class:`~edge_occ.sources.faults.Unscored` in its place: one bad file must not
    stop a line.

    Attributes:
        shortage: error that names the pictures missing from the latest iteration.

    Args:
        folder_or_glob: folder, pattern or file.
        white: value of 16-bit pictures that becomes 255, see :func:`edge_occ.common.images.read_image`.

    Raises:
        InputError: there are none; or, on iterating, none of them can be read.
        SourceLost: on iterating, none of them can be read and some are missing.
    """

    rate = None

    def __init__(self, folder_or_glob: str, white: int | None = None) -> None:
        self._where, self._white = folder_or_glob, white
        self._paths = find_images(folder_or_glob)
        self.shortage: SourceLost | None = None

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8] | Unscored]]:
        """Yield name and picture, decoded on demand, or the reason why it cannot be decoded."""
        first: Unscored | None = None
        bad, gone = 0, []
        for path in self._paths:
            try:
                yield path.name, read_picture(path, self._white)
            except Unscored as error:  # noqa: PERF203 - the others must still be read
                first, bad = first or error, bad + 1
                if not os.path.exists(path):  # noqa: PTH110 - as in Video
                    gone.append(path.name)
                yield path.name, error
        self.shortage = self._lost(gone) if gone else None
        if first is not None and bad == len(self._paths):
            if self.shortage is not None:
                raise self.shortage
            found = f"{bad} pictures, none of them usable; the first: {first.detail}"
            advice = "remove it" if first.error is None else first.error.advice
            raise InputError(f"readable pictures in {self._where}", found, advice)

    def _lost(self, gone: list[str]) -> SourceLost:
        count = len(self._paths)
        which = gone[0] if len(gone) == 1 else f"{gone[0]} and {len(gone) - 1} more"
        expected = f"the {count} pictures that {self._where} had at the start"
        return SourceLost(expected, f"{which} missing", "check the disk; leave the files until the run has ended")
