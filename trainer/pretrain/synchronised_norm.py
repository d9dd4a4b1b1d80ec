"""Batch normalisation over the batch of all processes.

Statistics of one process would be those of a smaller batch, and a contrastive task could infer from them which views
belong together (SimCLR, section 2.2).  torch's ``SyncBatchNorm`` runs only on GPUs and does not fold into convolutions;
this one runs everywhere, so that tests on CPUs cover the code that runs on GPUs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn

from trainer.pretrain import processes


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that replaces a layer and shares its parameters and running means.

    Args:
        layer: affine, with running mean and variance, and a momentum.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__(layer.num_features, layer.eps, layer.momentum)
        for name, tensor in (*layer.named_parameters(), *layer.named_buffers()):
            setattr(self, name, tensor)
        self.train(layer.training)

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise ``[n, c, h, w]``, with the same n in every process."""
        if not self.training or processes.count() == 1:
            return super().forward(inputs)
        values = inputs.float()
        mean = _mean(values)
        variance = _mean((values - mean.view(1, -1, 1, 1)).square())
        number = values.numel() // values.shape[1] * processes.count()
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.detach(), self.momentum)
        self.running_var.lerp_(variance.detach() * number / (number - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (values * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).to(inputs.dtype)


def synchronise(model: nn.Module) -> None:
    """Replace every batch normalisation of a model, in place."""
    for name, module in list(model.named_children()):
        if type(module) is nn.BatchNorm2d:
            setattr(model, name, SynchronisedBatchNorm2d(module))
        else:
            synchronise(module)


class _Sum(torch.autograd.Function):
    """The sum of all processes' tensors; the gradient of each is the sum of all processes' gradients."""

    @staticmethod
    def forward(_: Any, own: Tensor) -> Tensor:  # noqa: ANN401 - autograd's context, not needed
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


def _mean(values: Tensor) -> Tensor:
    """Return the mean of each channel over all processes."""
    total: Tensor = _Sum.apply(values.mean((0, 2, 3)))  # type: ignore[no-untyped-call]
    return total / processes.count()
