"""Guards: frames that show a fault of the camera, the lamp or the decoder, not a part; found before anything is scored.

Pure but for the last frame that :class:`Guards` remembers: time comes with the frame.

=========  ===========================================================================================
repeated   pixels equal those of the frame before: a sensor always has noise
frozen     the same, for many frames and seconds
black      far darker and flatter than every training image: the lamp is off, the lens is covered
white      the same with white: the lamp or the exposure is too strong
uniform    one value in each channel
grey       no colours, where every training image had some
torn       rows that repeat themselves, where those of the training images did not: a decoder lacked data
blurred    edges far smoother than in every training image: the lens is out of focus or greasy, the part moved
exposure   shadows, middle and highlights all far darker, or all far brighter, than in every training image
size       a camera's frame has another size than the training images
=========  ===========================================================================================

Parts, good and defective, must pass.  So a frame is black or white only if both its brightness and its contrast have
all but gone.  A defect changes the mean in proportion to its area, and a part that lies elsewhere changes neither by
much; a lamp that fails takes away nearly all light.  A quarter, two stops of exposure, lies between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from edge_occ.bundle.provenance import Exposure
from edge_occ.common.decoding import has_colour
from edge_occ.common.exposure import at_most_repeated_rows, levels, mean_and_deviation, repeated_rows, sharpness
from edge_occ.common.size import Size, size_in_words
from edge_occ.inspection.frozen import FrozenGuard
from edge_occ.sources.faults import Reason, Unscored
from edge_occ.sources.frame import Frame

MAX_SHARE = 0.25
"""A black or white frame has at most this share of the training images' lowest contrast, and of the lowest distance of
their means from black or from white."""

MIN_TORN = 0.125
"""Share of the rows that repeat themselves in a torn frame, beyond that of any training image: an eighth is more than a
few rows that happen to be equal, and less than what a lost packet costs in most frames."""

MIN_SHARPNESS = 0.5
"""A blurred frame has at most this share of the training images' lowest sharpness.  A blur of sigma 2 in pictures of
256 pixels leaves at most .34 of it, JPEG of quality 80 at least .64; no defect changes the edges of a whole picture."""

MAX_LIGHT = 0.5
"""In a frame of wrong exposure each level has at most this share of the training images' lowest, or of their lowest
distance from white: one stop.  A part that is absent, or a defect, leaves one of shadows, middle and highlights."""

_MEASURABLE_LEVEL = 8
"""Grey levels of the training images below which a level is black, and no exposure makes it darker."""

_MEASURABLE_SHARPNESS = 0.01
"""Training images that are less sharp are blurred themselves."""

_EVERY = 16
"""Rows between those that are looked at first, as frames mostly have colours in these already."""

_UNIFORM = 0.01
"""Standard deviation in grey levels below which a frame has one value, but for single pixels that differ by one."""


class GuardsConfig(BaseModel):
    """Frames that are reported as faults instead of being scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    black: bool = Field(True, description="frames far darker and flatter than every training image")
    white: bool = Field(True, description="the same with white")
    uniform: bool = Field(True, description="frames of one colour")
    grey: bool = Field(True, description="frames without colours, where every training image has some")
    torn: bool = Field(True, description="frames with repeated rows, where the training images have none")
    blurred: bool = Field(True, description="frames whose edges are far smoother than in every training image")
    exposure: bool = Field(
        True, description="frames whose shadows, middle and highlights have at most half of the training images' light"
    )
    size: bool = Field(True, description="frames of a camera in another size than the training images")
    frozen: bool = Field(True, description="frames of a camera that equal the one before, pixel by pixel")
    frozen_frames: int = Field(
        10, ge=1, description="more than so many equal frames in a row are frozen; fewer are repeated"
    )
    frozen_seconds: float = Field(2.0, ge=0, description="frozen: and for more than so many seconds")
    fault_after: float = Field(
        5.0, ge=0, description="seconds of faults only, or without frames, after which MQTT status is fault"
    )


class Guards:
    """Checks one frame after another.

    Args:
        config: which guards are on.
        exposure: of the training images; without it no frame is black, white, torn or blurred.
        colour: whether the training images have colours; ``None``: some have, or that is not known.
        size: height and width of the training images; a camera's frames must have it.  Files of another size are
            scored, and never blurred, as their edges are as much smoother as they are larger.  ``None``: the training
            images differed, so neither guard finds anything.
    """

    def __init__(
        self,
        config: GuardsConfig,
        exposure: Exposure | None = None,
        colour: bool | None = None,
        size: Size | None = None,
    ) -> None:
        self._config, self._exposure, self._colour, self._size = config, exposure, colour, size
        self._frozen = FrozenGuard(config.frozen_frames, config.frozen_seconds)

    def go_on_from(self, earlier: Guards) -> None:
        """Remember the last frame of the guards that these replace."""
        self._frozen.go_on_from(earlier._frozen)

    def check(self, frame: Frame) -> Unscored | None:
        """The fault that a frame shows, or ``None``.

        Files are never frozen: a picture may be there twice, and a recording may stand still.  The size check
        does not apply to files either: recordings are made with all kinds of cameras.  An image that is no
        uint8 ``[height, width, 3]`` passes, as it is refused where it is scored.
        """
        image = frame.image
        if not is_frame(image):
            return None
        frozen = None if frame.name is not None else self._frozen.check(image, frame.captured_monotonic)
        found = chain(self._faults(image, of_camera=frame.name is None), (frozen,))
        return next((fault for fault in found if fault is not None and self._is_on(fault.reason)), None)

    def _is_on(self, reason: Reason) -> bool:
        return bool(getattr(self._config, "frozen" if reason is Reason.REPEATED else reason.value))

    def _faults(self, image: NDArray[np.uint8], *, of_camera: bool) -> Iterator[Unscored | None]:
        """Yield what each guard finds, one after the other; those that take time only where they are on."""
        mean, deviation = mean_and_deviation(image)
        if self._exposure is not None:
            yield black_or_white(mean, deviation, self._exposure)
        if deviation < _UNIFORM and (self._exposure is None or self._exposure.deviation[0] >= _UNIFORM):
            colour = ", ".join(str(value) for value in image[0, 0])
            yield Unscored(Reason.UNIFORM, f"every pixel has the same value (blue, green, red: {colour})")
        if self._exposure is not None and self._config.exposure:
            yield wrong_exposure(image, self._exposure)
        if self._colour and not has_colour(image[::_EVERY]) and not has_colour(image):
            yield Unscored(Reason.GREY, "the training images have colours, this frame has none")
        if self._exposure is not None and self._config.torn:
            yield torn(image, self._exposure)
        if self._exposure is not None and self._config.blurred and image.shape[:2] == self._size:
            yield blurred(image, self._exposure)
        if of_camera:
            yield other_size(image, self._size)


def is_frame(image: object) -> bool:
    """Return whether an image is uint8 ``[height, width, 3]`` and has pixels."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        return False
    return image.ndim == 3 and image.shape[2] == 3 and image.size > 0


def black_or_white(mean: float, deviation: float, exposure: Exposure) -> Unscored | None:
    """Return the fault of a frame that is black or white compared with the training images; ``None`` for any other.

    Args:
        mean: of the frame, see :func:`~edge_occ.common.exposure.mean_and_deviation`.
        deviation: of the frame.
        exposure: of the training images.
    """
    (darkest, brightest), (flattest, _) = exposure.mean, exposure.deviation
    if deviation > MAX_SHARE * flattest:
        return None
    found = f"mean {mean:.1f} and deviation {deviation:.1f} of 255; of the training images"
    if mean <= MAX_SHARE * darkest:
        return Unscored(Reason.BLACK, f"{found} at least {darkest:.1f} and {flattest:.1f}")
    if 255 - mean <= MAX_SHARE * (255 - brightest):
        return Unscored(Reason.WHITE, f"{found} mean at most {brightest:.1f}, deviation at least {flattest:.1f}")
    return None


def wrong_exposure(image: NDArray[np.uint8], exposure: Exposure) -> Unscored | None:
    """Return the fault of a frame that is far darker or brighter, all of it, than every training image, or ``None``."""
    if exposure.levels is None:
        return None
    lowest, highest = zip(*exposure.levels, strict=True)
    found = levels(image)
    dark = min(lowest) >= _MEASURABLE_LEVEL and _within(found, lowest)
    bright = max(highest) <= 255 - _MEASURABLE_LEVEL and _within([255 - v for v in found], [255 - v for v in highest])
    if not dark and not bright:
        return None
    shown, usual = (", ".join(f"{value:.0f}" for value in values) for values in (found, lowest if dark else highest))
    limit = "at least" if dark else "at most"
    return Unscored(
        Reason.EXPOSURE,
        f"10, 50 and 90 % of the pixels are below {shown} of 255; in the training images {limit} {usual}",
    )


def _within(found: Sequence[float], usual: Sequence[float]) -> bool:
    return all(level <= MAX_LIGHT * least for level, least in zip(found, usual, strict=True))


def other_size(image: NDArray[np.uint8], size: Size | None) -> Unscored | None:
    """Return the fault of a frame whose size differs from the training images'; ``None`` for any other."""
    if size is None or image.shape[:2] == size:
        return None
    found, trained = size_in_words(image.shape), size_in_words(size)
    return Unscored(
        Reason.SIZE,
        f"{found} pixels, but the training images had {trained}: set the camera to it (?width=..&height=..), or train "
        "with its frames (edge-occ record)",
    )


def torn(image: NDArray[np.uint8], exposure: Exposure) -> Unscored | None:
    """Return the fault of a frame whose rows repeat more often than in any training image; ``None`` for any other."""
    limit = exposure.repeated_rows + MIN_TORN
    if at_most_repeated_rows(image) <= limit or (share := repeated_rows(image)) <= limit:
        return None
    most = f"{exposure.repeated_rows:.0%}"
    return Unscored(Reason.TORN, f"{share:.0%} of the rows repeat the row above; in the training images {most} at most")


def blurred(image: NDArray[np.uint8], exposure: Exposure) -> Unscored | None:
    """Return the fault of a frame that is far less sharp than every training image; ``None`` for any other."""
    lowest = exposure.sharpness
    if lowest is None or lowest < _MEASURABLE_SHARPNESS:
        return None
    found = sharpness(image)
    if found > MIN_SHARPNESS * lowest:
        return None
    return Unscored(Reason.BLURRED, f"sharpness {found:.3f}; of the training images at least {lowest:.3f}")
