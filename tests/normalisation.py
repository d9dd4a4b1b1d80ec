"""Batch normalisation whose statistics are not the identity, as those of a trained network."""

import torch


def unsettle(network, reach=0.5):
    """Draw statistics and affine parameters of every batch normalisation; means within ``reach`` of zero."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-reach, reach)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()
