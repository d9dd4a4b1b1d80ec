"""The region of the frame that is inspected: found on normal images, or drawn by the user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from edge_occ.common.errors import InputError
from edge_occ.common.images import read_image
from edge_occ.common.size import Size, size_in_words
from trainer.data.foreground import foreground

Mask = NDArray[np.bool_]

MIN_PLAIN = 0.9
"""Minimum share of images with a plain ground, for parts before a plain ground; textures have none."""

MIN_FREQUENCY = 0.1
"""Minimum share of those images whose part covers a pixel; dust on the ground never lies in one place as often."""

GROWTH = 0.03
"""Distance that the region reaches beyond the parts, as a share of the image's shorter side: about a position of the
grid, for burrs and bristles that stick out."""

MAX_SHARE = 0.95
"""Maximum share of the image that a region covers; with more, there is no ground to leave out."""

_JSON_LIMIT = 1 << 20

_Polygon = Annotated[list[tuple[float, float]], Field(min_length=3, max_length=10_000)]


class _Polygons(BaseModel):
    """Polygons in frame pixels."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    inspect: list[_Polygon] = []
    ignore: list[_Polygon] = []


def find_region(images: Tensor) -> Mask | None:
    """Find where the parts lie before a plain ground.

    Args:
        images: normal images, uint8 RGB ``[n, 3, height, width]``.

    Returns:
        bool ``[height, width]``; ``None`` if the ground is not plain, or the parts cover nearly everything.
    """
    parts = torch.cat([foreground(chunk.float() / 255)[:, 0] for chunk in torch.split(images, 16)])
    plain = ~parts.flatten(1).all(1)
    if plain.float().mean() < MIN_PLAIN:
        return None
    mask = (parts[plain].float().mean(0) >= MIN_FREQUENCY).numpy()
    reach = round(GROWTH * min(mask.shape))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    grown: Mask = cv2.dilate(mask.astype(np.uint8), disc) > 0
    return grown if 0 < grown.mean() <= MAX_SHARE else None


def read_region(path: Path, frame: Size | None, size: Size) -> Mask:
    """Read the user's region: a picture whose bright pixels are inspected, or polygons.

    Args:
        path: a picture, or a ``.json`` file.
        frame: height and width of the training images; ``None`` if they differ.
        size: height and width of the result.

    Returns:
        bool ``[*size]``: pixels of which at least half is inspected.

    Raises:
        InputError: no such file, not a region, of another size than the images, or empty.
    """
    if frame is None:
        raise InputError(
            f"training images of one size for the region {path}", "images of different sizes", "use region.mode=whole"
        )
    if not path.is_file():
        raise InputError(f"a region at {path}", "no such file", "use region.mode=auto, whole, or the path of a file")
    drawn = _polygons(path, frame) if path.suffix.lower() == ".json" else _picture(path, frame)
    resized = cv2.resize(drawn.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    mask: Mask = resized >= 0.5
    if not mask.any():
        raise InputError(
            f"a region in {path} with something to inspect", f"{drawn.mean():.1%} of the frame", "draw a larger one"
        )
    return mask


def _picture(path: Path, frame: Size) -> Mask:
    picture = read_image(path)
    found = (picture.shape[0], picture.shape[1])
    if found != frame:
        raise InputError(
            f"a region of {size_in_words(frame)} pixels, as the training images",
            f"{size_in_words(found)} in {path}",
            "draw it on one of the training images",
        )
    bright: Mask = picture.max(2) > 127
    return bright


def _polygons(path: Path, frame: Size) -> Mask:
    if path.stat().st_size > _JSON_LIMIT:
        raise _not_polygons(path, f"{path.stat().st_size} bytes")
    try:
        content: Any = json.loads(path.read_bytes())
        polygons = _Polygons.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _not_polygons(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise _not_polygons(path, str(error)) from error
    drawn = np.full(frame, 0 if polygons.inspect else 1, np.uint8)
    for outlines, value in ((polygons.inspect, 1), (polygons.ignore, 0)):
        for outline in outlines:
            corners = np.round(np.clip(outline, -1e6, 1e6)).astype(np.int32)
            cv2.fillPoly(drawn, [corners], value)
    return drawn > 0


def _not_polygons(path: Path, found: str) -> InputError:
    return InputError(
        f'polygons in {path}: {{"inspect": [[[x, y], ...]], "ignore": []}}',
        found,
        "write corners in pixels of the training images, at least three a polygon",
    )
