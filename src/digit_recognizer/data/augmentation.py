"""Digits as other hands and pens might have written them: a whole batch at once, from a passed generator.

Pixels are float32 (n, 1, 28, 28) in [0, 1], ink bright. Each digit gets its own random amounts; the strengths are a
recipe's Augmentation. A strength of zero draws nothing and changes nothing.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from digit_recognizer.data import strokes
from digit_recognizer.recipes.strengths import Augmentation

SIZE = 28
SHOWN: dict[str, Any] = {
    "rotation": 30,
    "shift": 4,
    "scale": 0.3,
    "shear": 0.4,
    "elastic": 2,
    "stroke": 0.9,
    "blur": 1,
    "contrast": 1,
    "styles": 1,
}
ELASTIC_POINTS = 5  # along each side, whose displacements are drawn; those between them are interpolated


def augment(
    pixels: Tensor, strengths: Augmentation, generator: torch.Generator, labels: Tensor | None = None
) -> Tensor:
    """Other versions of these digits, same shape and range. generator: on the CPU, wherever the pixels are.

    labels: int64 (n,), which styles need to know; without them these are left out.
    """
    count, device = len(pixels), pixels.device
    if strengths.styles and labels is not None:
        pixels = strokes.style(pixels, labels, strengths.styles, generator)
    if strengths.moves:
        pixels = move(pixels, places(count, strengths, generator).to(device), strengths.sharp)
    if strengths.stroke:
        pixels = stroke_weight(pixels, _uniform(strengths.stroke, generator, count).to(device))
    if strengths.blur:
        pixels = blur(pixels, _uniform(strengths.blur, generator, count).abs().to(device))
    if strengths.contrast:
        pixels = contrast(pixels, _uniform(strengths.contrast, generator, count).to(device))
    if strengths.hard_edges:
        chosen = torch.rand(count, generator=generator) < strengths.hard_edges
        pixels = hard_edges(pixels, chosen.to(device))
    return pixels


def _uniform(strength: float, generator: torch.Generator, *shape: int) -> Tensor:
    """float32 of that shape, uniform between minus and plus the strength."""
    return (torch.rand(shape, generator=generator) * 2 - 1) * strength


def move(pixels: Tensor, grid: Tensor, sharp: bool = False) -> Tensor:
    """Each pixel fetched from another place, between pixels in straight lines or, sharp, by cubics.

    grid: as places returns it.
    """
    if sharp:  # cubics overshoot at edges
        return F.grid_sample(pixels, grid, mode="bicubic", align_corners=False).clamp_(0, 1)
    return F.grid_sample(pixels, grid, align_corners=False)


def places(count: int, strengths: Augmentation, generator: torch.Generator) -> Tensor:
    """Where each pixel of count new digits comes from: rotation, scale, shear, shift and bending in one.

    float32 (count, 28, 28, 2): across and down, from -1 to 1 over the picture.
    """
    grid = F.affine_grid(_matrices(count, strengths, generator), [count, 1, SIZE, SIZE], align_corners=False)
    if strengths.elastic:
        coarse = _uniform(strengths.elastic * 2 / SIZE, generator, count, 2, ELASTIC_POINTS, ELASTIC_POINTS)
        field = F.interpolate(coarse, SIZE, mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1)
    return grid


def _matrices(count: int, strengths: Augmentation, generator: torch.Generator) -> Tensor:
    """Random affine maps from places in the new digit to places in the old: float32 (count, 2, 3)."""
    angle = _uniform(math.radians(strengths.rotation), generator, count)
    wide, high = 1 + _uniform(strengths.scale, generator, 2, count)
    shear = _uniform(strengths.shear, generator, count)
    across, down = _uniform(strengths.shift * 2 / SIZE, generator, 2, count)
    cos, sin = angle.cos(), angle.sin()
    rows = [cos / wide, (shear * cos - sin) / wide, across, sin / high, (shear * sin + cos) / high, down]
    return torch.stack(rows, dim=1).view(count, 2, 3)


def stroke_weight(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Thicker strokes where an amount is positive, up to one pixel on each side at 1; thinner where it is negative.

    amounts: float32 (n,) in [-1, 1].
    """
    amounts = amounts.view(-1, 1, 1, 1)
    sign = torch.where(amounts < 0, -1.0, 1.0)
    grown = F.max_pool2d(pixels * sign, 3, stride=1, padding=1) * sign  # of the negative: the least of the neighbours
    return torch.lerp(pixels, grown, amounts.abs())


def blur(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Softer digits: 0 leaves them, 1 is a binomial 3x3 filter. amounts: float32 (n,) in [0, 1]."""
    weights = torch.tensor([1.0, 2.0, 1.0], device=pixels.device)
    kernel = (weights[:, None] * weights / 16).view(1, 1, 3, 3)
    return torch.lerp(pixels, F.conv2d(pixels, kernel, padding=1), amounts.view(-1, 1, 1, 1))


def contrast(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Bolder greys where an amount is positive, paler where it is negative; paper and full ink stay.

    amounts: float32 (n,) in [-1, 1], the exponent being 4 to the power of minus the amount.
    """
    return pixels.pow(4.0 ** -amounts.view(-1, 1, 1, 1))


def hard_edges(pixels: Tensor, chosen: Tensor) -> Tensor:
    """Only paper and ink, as a mouse or a fax draws, where chosen. chosen: bool (n,)."""
    return torch.where(chosen.view(-1, 1, 1, 1), (pixels > 0.5).to(pixels.dtype), pixels)


def examples(pixels: Tensor, label: int, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """One digit, float32 (28, 28), changed in each way alone, strongly enough to be seen: (count, 28, 28) each.

    Of rotation there are two rows, with the same angles: straight lines and cubics. Styles change a 1 or a 7 only.
    """
    many, labels = pixels.expand(count, 1, SIZE, SIZE), torch.full((count,), label)
    before = generator.get_state()
    shown = {"rotation": augment(many, Augmentation(rotation=SHOWN["rotation"]), generator)}
    generator.set_state(before)
    shown["rotation, sharp"] = augment(many, Augmentation(rotation=SHOWN["rotation"], sharp=True), generator)
    for name, strength in SHOWN.items():
        if name not in shown:
            shown[name] = augment(many, Augmentation(**{name: strength}), generator, labels)
    shown["hard edges"] = augment(many, Augmentation(hard_edges=1), generator)[:1]  # there is only one way
    return {"none": many[:1, 0]} | {name: images[:, 0] for name, images in shown.items()}
