"""A region that a person drew, for a training or an inspection: a picture whose bright pixels are inspected, or
polygons.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_occ.common.errors import InputError
from edge_occ.common.images import read_image
from edge_occ.common.size import Size, size_in_words

_JSON_LIMIT = 1 << 20
"""Bytes of a file of polygons; one of 10,000 corners has about 150,000."""

_FURTHEST = 1e6
"""Pixels to which coordinates are cut before they are drawn, as OpenCV takes integers of 32 bits."""

_Polygon = Annotated[tuple[tuple[float, float], ...], Field(min_length=3, max_length=10_000)]


class Polygons(BaseModel):
    """Corners ``(x, y)`` in pixels of the frame; without any to inspect, all is inspected but what is ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    inspect: tuple[_Polygon, ...] = ()
    ignore: tuple[_Polygon, ...] = ()


@dataclass(frozen=True)
class DrawnRegion:
    """The content of a file; two are equal if they have the same name and inspect the same pixels of every frame.

    Attributes:
        path: the file.
        size: height and width of the picture, which frames must have; of polygons, the least that hold all corners.
        polygons: ``None`` for a picture.
        bits: a picture's pixels, row by row, eight a byte.
    """

    path: Path
    size: Size
    polygons: Polygons | None = None
    bits: bytes = b""

    def misfit(self, frame: Size) -> str | None:
        """Return in words what does not fit a frame: the picture's size, or a corner outside; ``None``: it fits.

        Args:
            frame: height and width in pixels.
        """
        if self.polygons is None:
            return None if self.size == frame else f"{size_in_words(self.size)} in {self.path}"
        for polygon in self.polygons.inspect + self.polygons.ignore:
            for x, y in polygon:
                if not (0 <= x <= frame[1] and 0 <= y <= frame[0]):
                    return f"a corner at ({x:g}, {y:g}) in {self.path}"
        return None

    def pixels(self, frame: Size) -> NDArray[np.bool_]:
        """Return the pixels that are inspected; polygons hold the pixels on their edges, too.

        Args:
            frame: height and width in pixels; of a picture, its own.

        Returns:
            bool ``[height, width]``.
        """
        if self.polygons is None:
            bits = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=math.prod(self.size))
            return bits.reshape(self.size) > 0
        drawn = np.full(frame, 0 if self.polygons.inspect else 1, np.uint8)
        for polygons, value in ((self.polygons.inspect, 1), (self.polygons.ignore, 0)):
            for polygon in polygons:
                corners = np.round(np.clip(polygon, -_FURTHEST, _FURTHEST)).astype(np.int32)
                cv2.fillPoly(drawn, [corners], value)
        return drawn > 0


def read_drawn_region(path: Path) -> DrawnRegion:
    """Read a picture whose bright pixels (a channel above 127) are inspected, or a ``.json`` file of polygons.

    Raises:
        InputError: no such file, no picture, or no polygons of at least three corners; see also
            :func:`edge_occ.common.images.read_image`.
    """
    if not path.is_file():
        raise InputError(f"a drawn region at {path}", "no such file", "name a picture, or a .json file of polygons")
    if path.suffix.lower() == ".json":
        return _read_polygons(path)
    bright = read_image(path).max(2) > 127
    return DrawnRegion(path, (bright.shape[0], bright.shape[1]), bits=np.packbits(bright).tobytes())


def at_size(pixels: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """Return a region at another size: a pixel is inspected where at least half of what it shows is.

    Args:
        pixels: bool ``[height, width]``.
        size: height and width of the result.
    """
    resized = cv2.resize(pixels.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(resized >= 0.5)


def _read_polygons(path: Path) -> DrawnRegion:
    try:
        with path.open("rb") as file:
            data = file.read(_JSON_LIMIT + 1)
        if len(data) > _JSON_LIMIT:
            raise _not_polygons(path, f"more than {_JSON_LIMIT} bytes")
        content: Any = json.loads(data)
        polygons = Polygons.model_validate(content)
    except OSError as error:
        raise _not_polygons(path, str(error.strerror)) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _not_polygons(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise _not_polygons(path, str(error)) from error
    corners = [corner for polygon in polygons.inspect + polygons.ignore for corner in polygon]
    columns, rows = (max([0.0, *(corner[axis] for corner in corners)]) for axis in (0, 1))
    return DrawnRegion(path, (math.floor(rows) + 1, math.floor(columns) + 1), polygons)


def _not_polygons(path: Path, found: str) -> InputError:
    return InputError(
        f'polygons in {path}: {{"inspect": [[[x, y], ...]], "ignore": []}}',
        found,
        "write corners in pixels of the frame, at least three a polygon",
    )
