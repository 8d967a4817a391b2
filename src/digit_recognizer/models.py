"""The networks. Each takes float32 (n, 1, 28, 28) in [0, 1] and returns logits, float32 (n, 10)."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer.recipes.recipe import Convolution, Recipe


class Normalize(nn.Module):
    """Subtract the mean, divide by the standard deviation: the same arithmetic as torchvision's Normalize.

    As the first layer, with both numbers in the state dict, it keeps a saved network from being fed with wrong ones.
    """

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor  # the std; weight hashes cover the names of the state dict, so this one stays
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("deviation", torch.tensor(std))

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - self.mean).div_(self.deviation)


class MLP(nn.Sequential):
    """Linear layers with ReLU between them: the list of widths is the network.

    MLP([784, 512, 256, 10]) has 535,818 parameters, initialised as PyTorch does by default.
    """

    def __init__(
        self,
        widths: Sequence[int],
        mean: float = 0.1307,
        std: float = 0.3081,
        output: str = "logits",
        batch_norm: bool = False,
    ) -> None:
        layers: list[nn.Module] = [Normalize(mean, std), nn.Flatten()]  # (n, 1, 28, 28) to (n, 784)
        layers += linear_layers(widths, batch_norm)
        last: dict[str, list[nn.Module]] = {"log_softmax": [nn.LogSoftmax(dim=1)], "softmax": [nn.Softmax(dim=1)]}
        super().__init__(*layers, *last.get(output, []))


def linear_layers(widths: Sequence[int], batch_norm: bool) -> list[nn.Module]:
    """Linear layers with ReLU between them, and batch normalisation before each ReLU if that is wanted."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths[:-1]):
        norm: list[nn.Module] = [nn.BatchNorm1d(outputs)] if batch_norm else []
        layers += [nn.Linear(inputs, outputs), *norm, nn.ReLU()]
    return [*layers, nn.Linear(widths[-2], widths[-1])]


class Enlarge(nn.Module):
    """Digits with that many pixels along each side, by bilinear interpolation."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, pixels: Tensor) -> Tensor:
        return F.interpolate(pixels, (self.side, self.side), mode="bilinear", align_corners=False)


class Residual(nn.Module):
    """A convolution with batch normalisation, to which its input is added."""

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.convolution, self.norm = convolution, norm

    def forward(self, values: Tensor) -> Tensor:
        return values + self.norm(self.convolution(values))


class CNN(nn.Sequential):
    """Convolutions, each with batch normalisation and ReLU, and linear layers.

    Pooling comes before batch normalisation, which leaves a quarter of the values to normalise; in a residual layer it
    comes after the sum. A fixed layer is a convolution and pooling, with ReLU: see fixed_filters.
    """

    def __init__(
        self,
        convolutions: Sequence[Convolution],
        widths: Sequence[int],
        mean: float = 0.1307,
        std: float = 0.3081,
        side: int = 28,
    ) -> None:
        layers: list[nn.Module] = [Normalize(mean, std)]
        layers += [Enlarge(side)] if side != 28 else []
        inputs = 1
        for layer in convolutions:
            convolution = nn.Conv2d(inputs, layer.channels, layer.size, layer.stride, layer.padding, bias=False)
            norm, pool = nn.BatchNorm2d(layer.channels), [nn.MaxPool2d(2)] if layer.pool else []
            if layer.fixed:
                layers += [convolution.requires_grad_(False), *pool]
            else:
                layers += [Residual(convolution, norm), *pool] if layer.residual else [convolution, *pool, norm]
            layers.append(nn.ReLU(inplace=True))
            inputs = layer.channels
        super().__init__(*layers, nn.Flatten(), *linear_layers(widths, batch_norm=True))
        self.to(memory_format=torch.channels_last)  # the memory format in which convolutions are fastest


def split_fixed(model: nn.Module) -> tuple[list[Any], nn.Module]:
    """The layers that are not trained, from normalisation to the first ReLU, and the rest of the network.

    No layers, and the network itself, where all are trained.
    """
    if not isinstance(model, CNN) or next(model.parameters()).requires_grad:
        return [], model
    layers = list(model.children())
    count = 1 + next(place for place, layer in enumerate(layers) if isinstance(layer, nn.ReLU))
    return layers[:count], nn.Sequential(*layers[count:])


def build(recipe: Recipe, seed: int = 0) -> nn.Module:
    """The recipe's network with fresh weights. The same seed gives the same weights; no other generator advances."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the accelerators as well
        if recipe.convolutions:
            return CNN(recipe.convolutions, recipe.widths, recipe.mean, recipe.std, recipe.side)
        return MLP(recipe.widths, recipe.mean, recipe.std, recipe.output, recipe.batch_norm)


def parameter_count(model: nn.Module) -> int:
    """How many numbers training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def first_layer_weights(model: nn.Module) -> Tensor:
    """The weights of each unit of the first layer as an image on the CPU: float32 (units, height, width).

    28x28 of a linear layer, the kernel of a convolutional one.
    """
    weights = next(model.parameters()).detach().cpu()
    side = math.isqrt(weights[0].numel())
    return weights.reshape(len(weights), side, side)
