"""Training digits as other hands and pens might have written them: a whole batch at once.

Pixels are float32 (n, 1, 28, 28) in [0, 1], foreground bright. Each digit gets random amounts of its own, drawn from
the generator that is passed in; the strengths are a recipe's Augmentation. A strength of zero draws nothing.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from digit_recognizer.data import strokes
from digit_recognizer.data.damage import add_damage
from digit_recognizer.data.strokes import SIZE
from digit_recognizer.recipes.recipe import Augmentation, Recipe
from digit_recognizer.runtime.device import copy_to

OUTLIER_LABEL = -1  # instead of a digit
CPU = torch.device("cpu")
ELASTIC_POINTS = 5  # of the coarse grid along each side; displacements between them are interpolated


def augment_batch(
    pixels: Tensor, labels: Tensor, recipe: Recipe, epoch: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A batch as the network sees it in that epoch of a recipe: augmented digits, then outliers with their label."""
    augmented = epoch <= recipe.epochs - recipe.epochs_without_augmentation
    pixels = augment(pixels, recipe.augmentation if augmented else Augmentation(), generator, labels)
    if recipe.outlier_fraction:
        from digit_recognizer.data.outliers import make_outliers  # here: few recipes need it, and what it imports

        count = round(recipe.outlier_fraction * len(labels))
        made = augment(make_outliers(pixels, labels, count, generator), recipe.augmentation, generator)
        pixels = torch.cat([pixels, made])
        labels = torch.cat([labels, labels.new_full((len(made),), OUTLIER_LABEL)])
    return pixels, labels


def augment(
    pixels: Tensor, strengths: Augmentation, generator: torch.Generator, labels: Tensor | None = None
) -> Tensor:
    """Randomly changed digits, same shape and range. generator: on the CPU, wherever the pixels are.

    labels: int64 (n,), which styles need; without them styles are left out.
    """
    count, device = len(pixels), pixels.device
    if strengths.styles and labels is not None:
        pixels = strokes.add_styles(pixels, labels, strengths.styles, generator)
    if strengths.warps:
        pixels = warp(pixels, sampling_grid(count, strengths, generator, device), strengths.interpolation)
    if strengths.stroke:
        pixels = stroke_width(pixels, copy_to(_uniform(strengths.stroke, generator, count), device))
    if strengths.blur:
        pixels = blur(pixels, copy_to(_uniform(strengths.blur, generator, count).abs(), device))
    if strengths.contrast:
        pixels = contrast(pixels, copy_to(_uniform(strengths.contrast, generator, count), device))
    if strengths.hard_edges:
        chosen = torch.rand(count, generator=generator) < strengths.hard_edges
        pixels = hard_edges(pixels, copy_to(chosen, device))
    if strengths.damage:
        pixels = add_damage(pixels, strengths.damage, generator)
    return pixels


def _uniform(strength: float, generator: torch.Generator, *shape: int) -> Tensor:
    """float32 of that shape, uniform between minus and plus the strength."""
    return (torch.rand(shape, generator=generator) * 2 - 1) * strength


def warp(pixels: Tensor, grid: Tensor, interpolation: str = "bilinear") -> Tensor:
    """Pixels sampled at other places. grid: see sampling_grid. interpolation: "bilinear" or "bicubic"."""
    sampled = F.grid_sample(pixels, grid, mode=interpolation, align_corners=False)
    return sampled.clamp_(0, 1) if interpolation == "bicubic" else sampled  # cubics overshoot at edges


def sampling_grid(
    count: int, strengths: Augmentation, generator: torch.Generator, device: torch.device = CPU
) -> Tensor:
    """Where each pixel of the new digits comes from: rotation, scale, shear, shift and elastic displacement in one.

    float32 (count, 28, 28, 2) on the device: x and y, from -1 to 1 over the image. The few random numbers are copied
    there, and the grid is made of them there.
    """
    matrices = copy_to(_affine_matrices(count, strengths, generator), device)
    grid = F.affine_grid(matrices, [count, 1, SIZE, SIZE], align_corners=False)
    if strengths.elastic:
        coarse = _uniform(strengths.elastic * 2 / SIZE, generator, count, 2, ELASTIC_POINTS, ELASTIC_POINTS)
        field = F.interpolate(copy_to(coarse, device), SIZE, mode="bicubic", align_corners=True)  # (count, 2, 28, 28)
        grid = grid + field.permute(0, 2, 3, 1)
    return grid


def _affine_matrices(count: int, strengths: Augmentation, generator: torch.Generator) -> Tensor:
    """Random affine maps from new coordinates to old ones: float32 (count, 2, 3)."""
    angle = _uniform(math.radians(strengths.rotation), generator, count)
    scale_x, scale_y = 1 + _uniform(strengths.scale, generator, 2, count)
    shear = _uniform(strengths.shear, generator, count)
    shift_x, shift_y = _uniform(strengths.shift * 2 / SIZE, generator, 2, count)
    cos, sin = angle.cos(), angle.sin()
    rows = [
        cos / scale_x, (shear * cos - sin) / scale_x, shift_x,
        sin / scale_y, (shear * sin + cos) / scale_y, shift_y,
    ]  # fmt: skip
    return torch.stack(rows, dim=1).view(count, 2, 3)


def stroke_width(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Thicker strokes where an amount is positive, up to one pixel on each side at 1; thinner where it is negative.

    amounts: float32 (n,) in [-1, 1].
    """
    amounts = amounts.view(-1, 1, 1, 1)
    sign = torch.where(amounts < 0, -1.0, 1.0)
    dilated = F.max_pool2d(pixels * sign, 3, stride=1, padding=1) * sign  # of the negative: an erosion
    return torch.lerp(pixels, dilated, amounts.abs())


def blur(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Softer digits: 0 leaves them, 1 is a binomial 3x3 filter. amounts: float32 (n,) in [0, 1]."""
    weights = torch.tensor([1.0, 2.0, 1.0])
    kernel = copy_to((weights[:, None] * weights / 16).view(1, 1, 3, 3), pixels.device)
    return torch.lerp(pixels, F.conv2d(pixels, kernel, padding=1), amounts.view(-1, 1, 1, 1))


def contrast(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Gamma 4 to the power of minus the amount: bolder greys where it is positive. amounts: float32 (n,) in [-1, 1]."""
    return pixels.pow(4.0 ** -amounts.view(-1, 1, 1, 1))


def hard_edges(pixels: Tensor, chosen: Tensor) -> Tensor:
    """Black and white only, as a mouse or a fax draws, where chosen. chosen: bool (n,)."""
    return torch.where(chosen.view(-1, 1, 1, 1), (pixels > 0.5).to(pixels.dtype), pixels)
