"""The projection head between the encoder and the loss of a task on whole images ("head_dims" of the two-stage paper's
code).
"""

from __future__ import annotations

from torch import Tensor, nn

from trainer.config import PretextConfig


class ProjectionHead(nn.Module):
    """The mean over the positions, hidden layers, a linear layer and a linear classifier, as 1x1 convolutions.

    Hidden layers have no bias, but batch normalisation and ReLU.  The linear layer has a bias only if a classifier
    follows.  The two-stage paper has seven hidden layers of 512, a linear one of 512 and four classes for rotation,
    eight of 512 and a linear one of 128 without classes for contrastive learning.

    Args:
        inputs: number of the encoder's features.
        config: hidden_layers, hidden_width, and embedding: width of the linear layer, 0 for none.
        classes: number of logits, 0 for the embedding itself.

    Attributes:
        layers: from the feature map to the embedding.
    """

    def __init__(self, inputs: int, config: PretextConfig, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)]
        width = inputs
        for _ in range(config.hidden_layers):
            hidden = config.hidden_width
            layers += [nn.Conv2d(width, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU()]
            width = hidden
        if config.embedding:
            layers.append(nn.Conv2d(width, config.embedding, 1, bias=classes > 0))
            width = config.embedding
        self.layers = nn.Sequential(*layers)
        self.classifier: nn.Module = nn.Conv2d(width, classes, 1) if classes else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Map features ``[n, inputs, h, w]`` to logits ``[n, classes, 1, 1]``, or without classes to embeddings
        ``[n, d, 1, 1]``.
        """
        outputs: Tensor = self.classifier(self.layers(features))
        return outputs

    def embed(self, features: Tensor) -> Tensor:
        """Map features ``[n, inputs, h, w]`` to embeddings ``[n, d]``, the inputs of the classifier."""
        embedding: Tensor = self.layers(features).flatten(1)
        return embedding
