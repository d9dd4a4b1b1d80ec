"""Comparison of frames with the training images by size and colour; scores of unlike frames mean little."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.manifest import Manifest
from edge_occ.common.decoding import has_colour
from edge_occ.common.size import size_in_words
from edge_occ.inspection.result import Inspection


class Likeness:
    """A sink that reports once that frames have another size than the training images, and once that colours differ.

    Args:
        manifest: size and colour of the training images; an unknown one is not compared.
        notify: called with a sentence.
    """

    name = "likeness"

    def __init__(self, manifest: Manifest, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self.compare_with(manifest)

    def compare_with(self, manifest: Manifest) -> None:
        """Compare with these training images from now on."""
        self._frame, self._colour = manifest.geometry.frame, manifest.training.colour

    def look(self, image: NDArray[np.uint8]) -> None:
        """Compare a frame, uint8 ``[height, width, 3]`` BGR."""
        if self._frame is not None and image.shape[:2] != self._frame:
            trained, got = size_in_words(self._frame), size_in_words(image.shape)
            self._notify(
                f"frames of {got} pixels, but the training images had {trained}: scores hold for the same camera and "
                "distance only; train anew with frames of this size"
            )
            self._frame = None
        if self._colour is None or image.min() == image.max():
            return  # a frame of one value, say a black one, has no colours with any camera
        if has_colour(image) != self._colour:
            trained, got = ("colours", "none") if self._colour else ("no colours", "some")
            self._notify(f"the training images had {trained}, these frames have {got}: train anew with such frames")
        self._colour = None  # a camera does not change, so one frame is enough

    def publish(self, inspection: Inspection) -> None:
        """Compare the frame of an inspection."""
        self.look(inspection.frame.image)

    def fault(self, fault: object) -> None:
        """Do nothing: a frame that was not inspected is reported elsewhere."""

    def finish(self, inspection: Inspection) -> None:
        """Do nothing: there is no new frame."""
