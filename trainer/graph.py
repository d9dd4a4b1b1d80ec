"""The one graph: raw camera frame in, image score and score map out.

Everything between the camera and the score is in here, and only here: resizing, colour order, normalisation, the
encoder, the projection, the Gaussian head, smoothing and upsampling.  Training, calibration and evaluation in torch
call the same modules that are exported, so there is no second place in which geometry or normalisation could differ.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.config import MapConfig, TrainConfig
from trainer.encoders import DensePatchEncoder, grid_size, window_centres
from trainer.heads.gaussian import mahalanobis

_CENTRE, _SCALE = 127.5, 63.75
"""Pixels become ``(pixel - 127.5) / 63.75``, that is -2 to 2."""


def resize_matrix(extent: Tensor, target: int) -> Tensor:
    """Anti-aliased linear resampling along one axis, as a matrix ``[target, extent]``.

    The triangle filter of Pillow and of torch's ``interpolate(antialias=True)``.  As a matrix product it needs no
    resize operator, on whose anti-aliasing the runtimes differ; it is the identity where nothing is to be resized.

    Args:
        extent: 0, 1, 2, ... for every pixel along the axis, float32.
        target: number of pixels wanted.
    """
    scale = (extent[-1:] + 1) / target
    centres = (torch.arange(target, dtype=torch.float32, device=extent.device) + 0.5) * scale
    distance = (extent + 0.5).unsqueeze(0) - centres.unsqueeze(1)
    weights = (1 - distance.abs() / scale.clamp_min(1)).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)


class Preprocess(nn.Module):
    """Resizes raw frames and normalises them.

    Args:
        size: side of the result in pixels.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def resize(self, frames: Tensor) -> Tensor:
        """Map uint8 BGR ``[n, h, w, 3]`` to float32 RGB ``[n, 3, size, size]``, 0 to 255."""
        images = frames.float().permute(0, 3, 1, 2)
        across = resize_matrix(torch.arange(frames.shape[2], device=frames.device).float(), self.size)
        down = resize_matrix(torch.arange(frames.shape[1], device=frames.device).float(), self.size)
        images = down @ (images @ across.transpose(0, 1))
        return _to_rgb(images)

    def forward(self, frames: Tensor) -> Tensor:
        """Resize and normalise: float32 RGB ``[n, 3, size, size]``, -2 to 2."""
        return normalise(self.resize(frames))


def normalise(images: Tensor) -> Tensor:
    """Map RGB values of 0..255 to the encoder's -2..2."""
    return (images - _CENTRE) / _SCALE


def _to_rgb(images: Tensor) -> Tensor:
    return images.index_select(1, torch.tensor([2, 1, 0], device=images.device))


def projection_matrix(inputs: int, outputs: int) -> Tensor:
    """The fixed orthogonal projection: ``[inputs, outputs]`` with orthonormal columns, always the same one."""
    generator = torch.Generator().manual_seed(0)
    square = torch.randn(inputs, inputs, generator=generator, dtype=torch.float64)
    orthogonal: Tensor = torch.linalg.qr(square)[0]
    return orthogonal[:, :outputs].float()


class HalfEncoder(nn.Module):
    """An encoder that computes in fp16 between casts from and to fp32."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder.half()

    def forward(self, images: Tensor) -> Tensor:
        """Map float32 images to float32 features, as the encoder does."""
        features: Tensor = self.encoder(images.half())
        return features.float()


class FeatureExtractor(nn.Module):
    """Raw frames to the projected feature grid: what the head is fitted on.

    Each scale of the encoder's features is projected by itself, so that neither drowns the other.

    Args:
        encoder: trained encoder.
        config: the training settings.
    """

    def __init__(self, encoder: DensePatchEncoder, config: TrainConfig) -> None:
        super().__init__()
        self.preprocess = Preprocess(config.input.size)
        self.encoder: nn.Module = encoder
        window, centre = encoder.scales
        self.window = window
        of_centre = config.head.of_centre(centre)
        blocks = projection_matrix(window, config.head.dim - of_centre), projection_matrix(centre, of_centre)
        self.projection: Tensor
        self.register_buffer("projection", torch.block_diag(*blocks))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def level(self, images: Tensor) -> None:
        """Scale the projection so that both scales of features vary equally on resized RGB images ``[n, 3, h, w]``,
        0..255.

        The covariance's regulariser shrinks towards one common variance and would otherwise favour one of them.
        """
        window = self.window
        features = self.encoder(normalise(images.float()))
        for part in (slice(None, window), slice(window, None)):
            self.projection[part] /= features[:, part].std().clamp_min(1e-6)

    def forward(self, frames: Tensor) -> Tensor:
        """Map uint8 BGR ``[n, h, w, 3]`` to float32 ``[n, rows, columns, d]``."""
        features: Tensor = self.encoder(self.preprocess(frames)).permute(0, 2, 3, 1) @ self.projection
        return features

    def unresized(self, images: Tensor) -> Tensor:
        """The same, but nothing is resized; a single window gives a single feature."""
        rgb = normalise(_to_rgb(images.float().permute(0, 3, 1, 2)))
        features: Tensor = self.encoder(rgb).permute(0, 2, 3, 1) @ self.projection
        return features


class ScoreMap(nn.Module):
    """Grid scores to the smoothed full-resolution map and the image score.

    A Gaussian is laid on every window centre, weighted by the window's score, and the sum is divided by the same sum
    over ones: the transposed Gaussian convolution of CutPaste (A.5) without its loss of gain towards the border (5.6 %
    of the centre's at an edge).  The Gaussian is separable, so both axes are one matrix product each.

    Args:
        config: smoothing and image score.
        size: side of the map in pixels.
        stride: grid stride in pixels.
    """

    def __init__(self, config: MapConfig, size: int, stride: int) -> None:
        super().__init__()
        self.top = max(1, round(config.top_fraction * size * size)) if config.image_score == "top" else None
        self.spread: Tensor
        self.register_buffer("spread", upsampling_matrix(size, stride, config.sigma))

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores ``[n, rows, columns]`` to image scores ``[n]`` and maps ``[n, size, size]``."""
        maps = self.spread @ grid @ self.spread.transpose(0, 1)
        flat = maps.flatten(1)
        score = flat.amax(1) if self.top is None else flat.topk(self.top, 1).values.mean(1)
        return score, maps


def upsampling_matrix(size: int, stride: int, sigma: float) -> Tensor:
    """Normalised Gaussian weights ``[size, positions]`` of every window centre at every pixel; rows sum to one."""
    positions, _ = grid_size(size, size, stride)
    pixels = torch.arange(size, dtype=torch.float64) + 0.5
    squared = (pixels.unsqueeze(1) - window_centres(positions, stride).unsqueeze(0)).square()
    return torch.softmax(-squared / (2 * sigma * sigma), 1).float()


class InspectionGraph(nn.Module):
    """The exported graph; the head's tensors are inputs, so that a head can be swapped without a rebuild."""

    def __init__(self, extractor: FeatureExtractor, config: TrainConfig) -> None:
        super().__init__()
        self.extractor = extractor
        self.score_map = ScoreMap(config.map, config.input.size, config.encoder.stride)

    def forward(self, frame: Tensor, mean: Tensor, whitening: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score one frame.

        Args:
            frame: uint8 BGR ``[h, w, 3]``, any size.
            mean: ``[rows, columns, d]`` or ``[1, 1, d]``.
            whitening: ``[rows, columns, d, d]`` or ``[1, 1, d, d]``.

        Returns:
            Image score ``[1]``, score map ``[size, size]``, and the features ``[rows, columns, d]``, which cost nothing
            where nobody asks for them.
        """
        # Cast before all else: TensorRT takes bytes into a cast and into nothing else.
        features = self.extractor(frame.float().unsqueeze(0))
        score, maps = self.score_map(mahalanobis(features, mean, whitening))
        return score, maps[0], features[0]


class EncoderGraph(nn.Module):
    """The encoder alone, on images of any size: run on single windows, it is what the dense graph must equal."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 BGR ``[n, h, w, 3]``, at least 64x64, to features ``[n, rows, columns, d]``; nothing is resized."""
        return self.extractor.unresized(images)
