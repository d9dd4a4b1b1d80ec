"""From the image to the projected features that heads are fitted on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.config import HeadConfig
from trainer.encoders.base import Encoder
from trainer.heads.cam import l2_normalise


def projection_matrix(inputs: int, outputs: int) -> Tensor:
    """The fixed orthogonal projection: ``[inputs, outputs]`` with orthonormal columns, always the same one.

    It is the identity where all features are kept: the width of some heads' kernel depends on the axes.
    """
    if inputs == outputs:
        return torch.eye(inputs)
    generator = torch.Generator().manual_seed(0)
    square = torch.randn(inputs, inputs, generator=generator, dtype=torch.float64)
    orthogonal: Tensor = torch.linalg.qr(square)[0]
    return orthogonal[:, :outputs].float()


class FeatureExtractor(nn.Module):
    """Resized images to the projected feature grid.

    Each scale of the encoder's features is projected separately, so that none dominates the others.

    Args:
        encoder: trained, or to be trained.
        config: number of features that are kept.

    Raises:
        ValueError: the encoder has fewer features than the head needs.
    """

    def __init__(self, encoder: Encoder, config: HeadConfig) -> None:
        super().__init__()
        self.normalise = encoder.normalise
        self.l2 = config.l2
        self.by_channel = encoder.by_channel
        self.scales = encoder.scales
        self.encoder: nn.Module = encoder
        shares = zip(encoder.scales, config.shares(encoder.scales), strict=True)
        self.projection: Tensor
        self.register_buffer("projection", torch.block_diag(*[projection_matrix(*share) for share in shares]))  # type: ignore[no-untyped-call]

    def map(self, images: Tensor) -> Tensor:
        """The encoder's features ``[n, sum(scales), rows, columns]`` of RGB images ``[n, 3, h, w]`` of 0..255."""
        features: Tensor = self.encoder(self.normalise(images))
        return features

    def project(self, features: Tensor) -> Tensor:
        """Map the encoder's features to float32 ``[n, rows, columns, d]``."""
        last = features.permute(0, 2, 3, 1)
        return (l2_normalise(last) if self.l2 else last) @ self.projection

    @torch.no_grad()
    def level(self, images: Tensor) -> None:
        """Scale the projection so that all scales of features, or all features, vary equally on RGB images ``[n, 3, h,
        w]``, 0..255.

        The covariance's regulariser shrinks towards one common variance and would otherwise favour some of them.
        """
        features = torch.cat([self.map(chunk.float()) for chunk in torch.split(images, 16)])
        if self.l2:
            features = l2_normalise(features.movedim(1, -1)).movedim(-1, 1)
        first = 0
        for scale in self.scales:
            part = features[:, first : first + scale]
            deviation = part.std((0, 2, 3)).unsqueeze(1) if self.by_channel else part.std()
            self.projection[first : first + scale] /= deviation.clamp_min(1e-6)
            first += scale

    def forward(self, images: Tensor) -> Tensor:
        """Map RGB images ``[n, 3, h, w]`` of 0..255 to float32 ``[n, rows, columns, d]``."""
        return self.project(self.map(images))
