"""PageNet: a fully convolutional network that finds digits anywhere in a picture: where, how large, and which."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer.page_reader.maps import Maps
from digit_recognizer.recipes.page_reader import CLASSES, PageRecipe


class LocalContrast(nn.Module):
    """Grey values as contrast to their surroundings: absolute, and in standard deviations of the surroundings."""

    def forward(self, grey: Tensor) -> Tensor:
        """(n, 1, height, width) in [0, 1] to (n, 2, height, width)."""
        difference = grey - self._mean(grey)
        std = self._mean(difference * difference).clamp(min=0).sqrt()
        return torch.cat([4 * difference, (difference / (std + 0.02)).clamp(-5, 5)], dim=1)

    def _mean(self, values: Tensor) -> Tensor:
        """Mean over about 40 pixels around, computed on a coarse grid."""
        coarse = F.avg_pool2d(F.avg_pool2d(values, 8), 5, 1, 2, count_include_pad=False)
        return F.interpolate(coarse, size=values.shape[2:], mode="bilinear", align_corners=False)


def _convolution(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, values: Tensor) -> Tensor:
        return F.relu(values + self.second(self.first(values)))


class PageNet(nn.Module):
    """Down to a sixteenth of the resolution for the surroundings, and back up to a quarter for the place."""

    def __init__(self, recipe: PageRecipe) -> None:
        super().__init__()
        (half, quarter, eighth, sixteenth), head = recipe.widths, recipe.head
        self.contrast = LocalContrast()
        self.quarter = nn.Sequential(_convolution(2, half, 2), _convolution(half, quarter, 2), Residual(quarter))
        self.eighth = nn.Sequential(
            _convolution(quarter, eighth, 2), Residual(eighth), Residual(eighth), Residual(eighth)
        )
        self.sixteenth = nn.Sequential(_convolution(eighth, sixteenth, 2), Residual(sixteenth), Residual(sixteenth))
        self.from_sixteenth = _convolution(sixteenth, eighth, size=1)
        self.merge_eighth = _convolution(eighth, eighth)
        self.from_eighth = _convolution(eighth, head, size=1)
        self.from_quarter = _convolution(quarter, head, size=1)
        self.merge_quarter = nn.Sequential(_convolution(head, head), _convolution(head, head))
        self.head = nn.Conv2d(head, 1 + CLASSES + 4, 1)
        nn.init.constant_(self.head.bias, 0.0)  # type: ignore[arg-type]
        nn.init.constant_(self.head.bias[:1], -4.6)  # type: ignore[index]  # few cells hold a centre
        self.to(memory_format=torch.channels_last)

    def forward(self, grey: Tensor) -> Maps:
        """grey: float32 (n, 1, height, width), 0 black to 1 white; both sides multiples of MULTIPLE."""
        quarter = self.quarter(self.contrast(grey).contiguous(memory_format=torch.channels_last))
        eighth = self.eighth(quarter)
        sixteenth = self.from_sixteenth(self.sixteenth(eighth))
        eighth = self.merge_eighth(eighth + F.interpolate(sixteenth, scale_factor=2, mode="nearest"))
        up = F.interpolate(self.from_eighth(eighth), scale_factor=2, mode="nearest")
        return Maps(*self.head(self.merge_quarter(self.from_quarter(quarter) + up)).split([1, CLASSES, 2, 2], dim=1))
