"""Batch normalisation over the shares of all processes: what the whole batch's mean and variance are in one process.

PyTorch's own, SyncBatchNorm, refuses CPUs.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from digit_recognizer.runtime import distributed


@contextlib.contextmanager
def sync_batch_norm(model: nn.Module) -> Iterator[None]:
    """Within, the network's batch normalisation takes mean and variance over the shares of all processes.

    The layers stay what they are, and so do their weights' names. A process alone keeps PyTorch's own arithmetic.
    """
    several = distributed.world_size() > 1
    layers = [layer for layer in model.modules() if several and isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    for layer in layers:
        vars(layer)["forward"] = functools.partial(_normalize, layer)  # hides that of its class
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def _normalize(layer: Any, values: Tensor) -> Tensor:
    """What a layer of batch normalisation does, with the whole batch's statistics.

    values: (n, channels, ...); n may be 0 here.
    """
    if not layer.training:
        return type(layer).forward(layer, values)
    axes, shape = [0, *range(2, values.ndim)], [1, -1, *[1] * (values.ndim - 2)]
    numbers = values.to(layer.weight.dtype)  # in mixed precision the values have fewer digits than the weights
    size = numbers[:, 0].numel()  # of the values of each channel
    own_mean = numbers.sum(axes) / max(size, 1)
    scatter = (numbers - own_mean.view(shape)).square().sum(axes)
    # float64, since squares of the means are added here and taken away again below.
    own = [size * own_mean.double(), scatter.double() + size * own_mean.double().square()]
    totals = _Sum.apply(torch.cat([*own, own_mean.new_tensor([size], dtype=torch.float64)]))
    size = totals[-1].detach()
    mean, square = (totals[:-1] / size).chunk(2)
    variance = square - mean.square()
    with torch.no_grad():
        layer.num_batches_tracked += 1
        layer.running_mean.lerp_(mean.to(numbers), layer.momentum)
        layer.running_var.lerp_((variance * size / (size - 1).clamp(min=1)).to(numbers), layer.momentum)
    scale = layer.weight * (variance + layer.eps).rsqrt().to(numbers)
    return ((numbers - mean.to(numbers).view(shape)) * scale.view(shape) + layer.bias.view(shape)).to(values.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes; each term's gradient is the sum of all processes' gradients of it."""

    @staticmethod
    def forward(ctx: Any, terms: Tensor) -> Tensor:
        return distributed.all_reduce(terms.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return distributed.all_reduce(gradient.clone())
