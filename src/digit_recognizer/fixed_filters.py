"""A first layer that is not trained: its filters come from the digits, and its output is computed once for all epochs.

The filters are the first principal components of patches of training digits, weakly whitened, each with both signs. A
training works on their pooled output: for `cnn_in_a_second` 32 maps of 6x6 positions instead of 784 pixels.
"""

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer import data
from digit_recognizer.data import Split
from digit_recognizer.models import split_fixed

DIGITS = 500  # the first of the training digits; the filters come from their patches
MIN_STD = 0.1  # of a patch of normalised pixels; the others are paper
WHITENING = 0.1  # part of the largest variance that is added to all of them: less whitens more
BATCH_SIZE = 1000  # of digits whose maps are computed at once


def set_filters(model: nn.Module, train: Split) -> None:
    """Give the fixed layer of a model, where it has one, the filters of these digits."""
    fixed, _ = split_fixed(model)
    if fixed:
        normalize, layer, *_ = fixed
        pixels = normalize(data.to_pixels(train.images[:DIGITS]))
        with torch.no_grad():
            layer.weight.copy_(principal_components(pixels, layer))


def principal_components(pixels: Tensor, layer: nn.Conv2d) -> Tensor:
    """Filters for a layer from normalised digits, float32 (n, 1, 28, 28): float32 (channels, 1, size, size)."""
    size = layer.kernel_size[0]
    patches = F.unfold(pixels, size, stride=layer.stride).transpose(1, 2).reshape(-1, size * size)
    patches = patches[patches.std(1) > MIN_STD]
    # On the CPU, so that all devices get the same filters.
    variances, vectors = torch.linalg.eigh((patches.T @ patches / len(patches)).cpu().double())  # in ascending order
    variances, vectors = variances.flip(0)[: layer.out_channels // 2], vectors.flip(1)[:, : layer.out_channels // 2]
    filters = (vectors / (variances + WHITENING * variances[0]).sqrt()).T.reshape(-1, 1, size, size)
    return torch.cat([filters, -filters])


@torch.no_grad()
def apply_fixed(model: nn.Module, train: Split, dtype: torch.dtype) -> Split:
    """The digits as the layers after the fixed one take them: maps of that type, (n, channels, height, width).

    The digits themselves, where no layer is fixed.
    """
    fixed, _ = split_fixed(model)
    if not fixed:
        return train
    return Split(torch.cat([_maps(fixed, part, dtype) for part in train.images.split(BATCH_SIZE)]), train.labels)


def _maps(fixed: list[Any], images: Tensor, dtype: torch.dtype) -> Tensor:
    """What the fixed layers compute, in a fifth of the time.

    Normalisation becomes part of the filters, those of the other sign follow from the minima, and a filter with a
    stride becomes one without over more channels: each square of pixels is a position.
    """
    normalize, layer, *others = fixed
    filters, stride = layer.weight[: layer.out_channels // 2], layer.stride[0]
    bias = (-filters.sum((1, 2, 3)) * normalize.mean / normalize.deviation).to(dtype)
    filters, pixels = (
        F.pixel_unshuffle(each, stride).to(dtype, memory_format=torch.channels_last)
        for each in (filters / (255 * normalize.deviation), images.unsqueeze(1))
    )
    outputs = F.conv2d(pixels, filters, bias)
    highest = lowest = outputs
    if isinstance(others[0], nn.MaxPool2d):
        squares = [outputs[:, :, top::2, left::2] for top in (0, 1) for left in (0, 1)]
        highest, lowest = functools.reduce(torch.maximum, squares), functools.reduce(torch.minimum, squares)
    return torch.cat([highest, -lowest], dim=1).relu_()
