"""The projection head against dense layers written out."""

import pytest
import torch
from torch import nn

from trainer.config import PretextConfig
from trainer.pretext.projection import ProjectionHead


def head(inputs=48, classes=3, **settings):
    torch.manual_seed(0)
    return ProjectionHead(inputs, PretextConfig(mode="image", **settings), classes)


def naive(layers, features):
    """Dense layers on the pooled features of one image, from the weights (evaluation mode)."""
    x = features.mean((1, 2))
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            x = layer.weight[:, :, 0, 0] @ x + (0 if layer.bias is None else layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            x = (x - layer.running_mean) / (layer.running_var + layer.eps).sqrt() * layer.weight + layer.bias
        elif isinstance(layer, nn.ReLU):
            x = x.clamp_min(0)
    return x


def dense(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize(("hidden", "embedding"), [(0, 16), (1, 16), (2, 16), (8, 128), (0, 0), (2, 0)])
def test_the_projection_head_has_the_given_number_of_layers(hidden, embedding, classes):
    made = head(classes=classes, hidden_layers=hidden, hidden_width=32, embedding=embedding)
    features = torch.rand(6, 48, 3, 5)
    before = embedding or (32 if hidden else 48)
    assert made(features).shape == (6, classes or before, 1, 1)  # once in training mode: no statistics are the identity
    widths = [layer.out_channels for layer in dense(made)]
    assert widths == [32] * hidden + [embedding] * (embedding > 0) + [classes] * (classes > 0)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in made.modules()) == hidden
    made.eval()
    with torch.inference_mode():
        embedded = torch.stack([naive(made.layers, one) for one in features])
        torch.testing.assert_close(made.embed(features), embedded)
        expected = embedded @ made.classifier.weight[:, :, 0, 0].T + made.classifier.bias if classes else embedded
        torch.testing.assert_close(made(features).flatten(1), expected)


@pytest.mark.parametrize("classes", [0, 4])
def test_only_what_a_classifier_follows_has_a_bias(classes):
    made = head(classes=classes, hidden_layers=2, hidden_width=32, embedding=16)
    biases = [layer.bias is not None for layer in dense(made)]
    assert biases == [False, False, *([True, True] if classes else [False])]


@pytest.mark.parametrize(("layers", "last", "classes"), [(7, 512, 4), (8, 128, 0)])
def test_the_two_stage_papers_heads_have_the_parameters_that_they_should(layers, last, classes):
    """512 x 8 and four classes for rotation; 512 x 8, 128 for contrastive learning."""
    made = head(512, classes, hidden_layers=layers, hidden_width=512, embedding=last)
    hidden = layers * (512 * 512 + 2 * 512)
    top = 512 * 512 + 512 + 512 * 4 + 4 if classes else 512 * 128
    assert sum(parameter.numel() for parameter in made.parameters()) == hidden + top


@pytest.mark.parametrize("embedding", [0, 16])
def test_the_same_seed_gives_the_weights_that_it_always_gave(embedding):
    """Convolutions in their order and nothing else draw from torch's generator, so that trainings repeat."""
    made = head(hidden_layers=2, hidden_width=32, embedding=embedding)
    torch.manual_seed(0)
    layers = [nn.Conv2d(48, 32, 1, bias=False), nn.Conv2d(32, 32, 1, bias=False)]
    layers += [nn.Conv2d(32, 16, 1)] if embedding else []
    layers.append(nn.Conv2d(embedding or 32, 3, 1))
    for layer, expected in zip(dense(made), layers, strict=True):
        assert torch.equal(layer.weight, expected.weight)
