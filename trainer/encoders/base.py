"""The base class of encoders: networks from an image to a grid of features."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """A network from an image to features at every position of a grid.

    ``forward`` takes images from :meth:`normalise`, ``[n, 3, h, w]``, and returns ``[n, sum(scales), rows, columns]``.

    Attributes:
        scales: number of channels of each scale of features, in the order of the result.
        stride: distance between positions in pixels.
        window: side of the square that a position stands for, in pixels.
        by_channel: whether the range differs between features, as it does between layers.
        exact: whether a feature depends on its window alone, so that an image of one window has the same feature.
        offset, deviation: pixels of 0..255 become ``(pixel - offset) / deviation``; one value, or one a channel.
    """

    scales: tuple[int, ...]
    stride: int
    window: int
    by_channel: bool = False
    exact: bool = False
    offset: float | tuple[float, float, float] = 127.5
    deviation: float | tuple[float, float, float] = 63.75

    def normalise(self, images: Tensor) -> Tensor:
        """Scale RGB images ``[n, 3, h, w]`` of 0..255 to the range that this encoder is trained on."""
        return (images - self._constant(self.offset, images)) / self._constant(self.deviation, images)

    @abstractmethod
    def centres(self, side: int) -> Tensor:
        """Return the centres of the positions along one axis of an image of ``side`` pixels: float64, in pixels (pixel
        ``i`` spans ``i`` to ``i + 1``).

        Raises:
            ValueError: the image is too small.
        """

    def fuse(self) -> None:
        """Fold every batch normalisation into its convolution, for export; call in evaluation mode."""

    @staticmethod
    def _constant(value: float | tuple[float, float, float], like: Tensor) -> Tensor:
        values = (value,) if isinstance(value, float) else value
        return like.new_tensor(values).view(1, -1, 1, 1)
