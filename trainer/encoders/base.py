"""What an encoder is: a network from an image to a grid of features."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """Features of every position of a grid over an image.

    ``forward`` takes what :meth:`normalise` gives, ``[n, 3, h, w]``, and returns ``[n, sum(scales), rows, columns]``.

    Attributes:
        scales: channels of each scale of features, in the order in which they lie in the result.
        stride: pixels from one position to the next.
        window: side of what a position stands for, in pixels.
        by_channel: whether features differ in range from one to the next, as those of several layers do.
        exact: whether a feature depends on its window alone, so that an image of one window has that very feature.
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
        """Map RGB images ``[n, 3, h, w]`` of 0..255 to what this encoder was trained on."""
        return (images - self._constant(self.offset, images)) / self._constant(self.deviation, images)

    @abstractmethod
    def centres(self, size: int) -> Tensor:
        """Where the positions along one axis of an image of ``size`` pixels are centred, float64, in pixels (pixel
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
