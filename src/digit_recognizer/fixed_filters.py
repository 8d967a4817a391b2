"""A first layer that is not trained: its filters come from the digits, and its output is computed once for all epochs.

The filters are the first principal components of patches of training digits, weakly whitened, each with both signs. The
patches are not centred, so the first is nearly their mean. A training works on the pooled output: for `cnn_in_a_second`
32 maps of 6x6 positions instead of 784 pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer import data
from digit_recognizer.data import Split
from digit_recognizer.models import split_fixed
from digit_recognizer.runtime.errors import UserError

DIGITS = 500  # the first of the training digits; the filters come from their patches
MIN_STD = 0.1  # of a patch of normalised pixels; the others are paper
WHITENING = 0.1  # part of the largest variance that is added to all of them: less whitens more
BATCH_SIZE = 1000  # of digits whose maps are computed at once


def set_filters(model: nn.Module, train: Split) -> None:
    """Give the fixed layer of a model, where it has one, the filters of these digits.

    Raises UserError where they have no strokes.
    """
    fixed, _ = split_fixed(model)
    if fixed:
        normalize, layer, *_ = fixed
        pixels = normalize(data.to_pixels(train.images[:DIGITS]))
        with torch.no_grad():
            layer.weight.copy_(principal_components(pixels, layer))


def principal_components(pixels: Tensor, layer: nn.Conv2d) -> Tensor:
    """Filters for a layer from normalised digits, float32 (n, 1, 28, 28): float32 (channels, 1, size, size)."""
    size, count = layer.kernel_size[0], layer.out_channels // 2
    patches = F.unfold(pixels, size, stride=layer.stride).transpose(1, 2).reshape(-1, size * size)
    patches = patches[patches.std(1) > MIN_STD]
    if not len(patches):
        raise UserError("the training digits have no strokes to take fixed filters from")
    # On the CPU, so that all devices get the same filters.
    variances, vectors = torch.linalg.eigh((patches.T @ patches / len(patches)).cpu().double())  # in ascending order
    variances, vectors = variances.flip(0)[:count], vectors.flip(1)[:, :count]
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
    layers, device = nn.Sequential(*fixed), train.images.device.type
    with torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16):
        maps = [layers(data.to_pixels(part)).to(dtype) for part in train.images.split(BATCH_SIZE)]
    return Split(torch.cat(maps), train.labels)
