"""Common properties of normal images, which frames must share, and warnings about them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from edge_occ.bundle.provenance import Exposure
from edge_occ.common.decoding import Picture, has_colour, to_8_bit, white_level
from edge_occ.common.exposure import Light, repeated_rows
from edge_occ.common.image_header import UPRIGHT
from edge_occ.common.images import counted
from edge_occ.common.size import Size
from trainer.data.detail import shrinking

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageTraits:
    """Properties of one image.

    Attributes:
        size: height and width.
        turned: whether its orientation tag makes a viewer turn it.
        colour: whether its channels differ.
        highest: highest value of a 16-bit image, else ``None``.
        light: its brightness, contrast and sharpness, in the units of its file.
    """

    size: Size
    turned: bool
    colour: bool
    highest: int | None
    light: Light

    @classmethod
    def of(cls, picture: Picture) -> ImageTraits:
        """Return the properties of a picture as stored in its file."""
        pixels = picture.pixels
        # The scale is not known before the last image is read; the largest divisor leaves most rows equal.
        light = replace(Light.of(pixels), repeated_rows=repeated_rows(to_8_bit(pixels, 65535)))
        return cls(
            size=(pixels.shape[0], pixels.shape[1]),
            turned=picture.orientation != UPRIGHT,
            colour=has_colour(pixels),
            highest=int(pixels.max()) if pixels.dtype == np.uint16 else None,
            light=light,
        )


@dataclass(frozen=True)
class Traits:
    """Properties of a set of images.

    Attributes:
        largest: the largest height and the largest width.
        usual: the size of the image whose shape, width over height, is the median, the lower one of two.
        turned: number of images that a viewer would turn; they are used as stored.
        colour: whether they have colours; ``None`` if only some do.
        white: white level (:func:`edge_occ.common.decoding.white_level`); ``None`` without 16-bit images.
        exposure: their brightness in 8 bits.
    """

    largest: Size
    usual: Size
    turned: int
    colour: bool | None
    white: int | None
    exposure: Exposure

    @classmethod
    def of(cls, images: Sequence[ImageTraits]) -> Traits:
        """Return the common properties of at least one image."""
        heights, widths = zip(*(image.size for image in images), strict=True)
        colours = {image.colour for image in images}
        highest = [image.highest for image in images if image.highest is not None]
        white = white_level(max(highest)) if highest else None
        scales = [1.0 if white is None or image.highest is None else 255 / white for image in images]
        return cls(
            largest=(max(heights), max(widths)),
            usual=sorted((image.size for image in images), key=_aspect)[(len(images) - 1) // 2],
            turned=sum(image.turned for image in images),
            colour=colours.pop() if len(colours) == 1 else None,
            white=white,
            exposure=Exposure.of([image.light.scaled(scale) for image, scale in zip(images, scales, strict=True)]),
        )

    def log(self, size: Size, cut_out: Size | None = None) -> None:
        """Log warnings about the images before a training.

        Args:
            size: height and width that the images are resized to, as a whole.
            cut_out: height and width of what is cut out of each; ``None``: the whole.
        """
        if self.turned:
            logger.warning(
                "%s would be turned by a viewer; here orientation is ignored, in pictures and in videos",
                counted(self.turned, "picture"),
            )
        lost = shrinking(cut_out or self.largest, size)
        if lost:
            crop = "" if cut_out else "crop to the part (before a plain ground --set region.crop=true), or "
            logger.warning("%s: %stake time for a larger input.size or for input.tiles", lost, crop)


def _aspect(size: Size) -> Fraction:
    height, width = size
    return Fraction(width, height)
