"""Damage to whole images, against which a network is to be robust: light, noise, lines, negatives, smears, outlines.

Pixels are float32 (n, 1, 28, 28) in [0, 1], foreground bright. The kinds resemble those of MNIST-C, in random amounts
and on training digits only: how a network that was trained with them reads these is no test of what it never saw.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from digit_recognizer.data.strokes import SIZE, draw_strokes, uniform

SMEARED = 7  # copies of an image along the path of a smear


def add_damage(pixels: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Damage images with this probability, each in one way. generator: on the CPU, wherever the pixels are."""
    chosen = (torch.rand(len(pixels), generator=generator) < probability).nonzero().flatten()
    pixels = pixels.clone()
    for places, damage in zip(chosen.tensor_split(len(KINDS)), KINDS, strict=True):
        if len(places):
            damaged = damage(pixels[places.to(pixels.device)].cpu(), generator).clamp(0, 1)
            pixels[places.to(pixels.device)] = damaged.to(pixels.device)
    return pixels


def _light(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Grey paper, brighter to one side."""
    line = torch.linspace(-0.5, 0.5, SIZE)
    across, down, level = uniform(-0.5, 0.5, generator, 3, len(pixels), 1, 1, 1)
    return pixels + (level + 0.3 + across * line + down * line[:, None]).clamp(min=0)


def _haze(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Clouds, coarse or fine, before the digit."""
    side = int(torch.randint(2, 8, (1,), generator=generator))
    coarse, fine = (
        F.interpolate(torch.rand(len(pixels), 1, each, each, generator=generator), SIZE, mode="bicubic")
        for each in (side, 3 * side)
    )
    clouds = 0.65 * coarse + 0.35 * fine
    return torch.lerp(pixels, clouds, uniform(0.2, 0.8, generator, len(pixels), 1, 1, 1))


def _noise(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels that are black or white, and grain."""
    value, chosen = torch.rand(2, *pixels.shape, generator=generator)
    share, grain = uniform(0, 0.2, generator, 2, len(pixels), 1, 1, 1)
    noisy = pixels + 1.5 * grain * torch.randn(pixels.shape, generator=generator)
    return torch.where(chosen < share, value.round(), noisy)


def _lines(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Two thin strokes, dotted half of the time."""
    count = len(pixels)
    drawn = torch.zeros_like(pixels)
    for _ in range(2):
        starts, ends = uniform(0, SIZE, generator, 2, count, 2)
        far = torch.rand(count, generator=generator) < 0.5
        starts[far, 0], ends[far, 0] = 0.0, float(SIZE)
        drawn = draw_strokes(drawn, starts, ends, uniform(0, 0.8, generator, count))
    period = torch.randint(2, 5, (1,), generator=generator)
    gaps = ((torch.arange(SIZE) // period) % 2).float().expand(count, 1, 1, SIZE)
    dotted = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    return torch.maximum(pixels, torch.where(dotted, drawn * gaps, drawn))


def _negative(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Dark on light within a band, or beside it."""
    first, second = uniform(0, SIZE, generator, 2, len(pixels), 1, 1, 1)
    line = torch.arange(SIZE).expand(len(pixels), 1, SIZE, SIZE)
    upright = torch.rand(len(pixels), 1, 1, 1, generator=generator) < 0.5
    line = torch.where(upright, line, line.mT)
    inside = (torch.minimum(first, second) <= line) & (line <= torch.maximum(first, second))
    return torch.where(inside ^ (torch.rand(len(pixels), 1, 1, 1, generator=generator) < 0.5), 1 - pixels, pixels)


def _smear(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """The mean of copies along a short straight path."""
    steps = uniform(-8, 8, generator, len(pixels), 2, 1) * 2 / SIZE / (SMEARED - 1)
    matrices = torch.eye(2, 3).repeat(len(pixels), 1, 1)
    total = torch.zeros_like(pixels)
    for number in range(SMEARED):
        matrices[:, :, 2:] = number * steps
        grid = F.affine_grid(matrices, list(pixels.shape), align_corners=False)
        total += F.grid_sample(pixels, grid, align_corners=False)
    return total / SMEARED * uniform(1, 1.5, generator, len(pixels), 1, 1, 1)


def _scatter(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Each pixel from a place nearby, as through frosted glass, and blurred."""
    line = torch.arange(SIZE, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
    reach = uniform(0.5, 2.5, generator, len(pixels), 1, 1, 1)
    moved = grid + reach * (2 * torch.rand(len(pixels), SIZE, SIZE, 2, generator=generator) - 1)
    sampled = F.grid_sample(pixels, (2 * moved + 1) / SIZE - 1, align_corners=False)
    return torch.lerp(sampled, F.avg_pool2d(sampled, 3, 1, 1), uniform(0, 1, generator, len(pixels), 1, 1, 1))


def _outline(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """The edges of the strokes alone, in black and white half of the time."""
    inside = pixels if torch.rand((), generator=generator) < 0.5 else F.avg_pool2d(pixels, 3, 1, 1)
    edges = (inside + F.max_pool2d(-inside, 3, 1, 1)) * uniform(1, 2, generator, len(pixels), 1, 1, 1)
    hard = torch.rand(len(pixels), 1, 1, 1, generator=generator) < 0.5
    return torch.where(hard, (edges > 0.5).float(), edges)


KINDS: tuple[Callable[[Tensor, torch.Generator], Tensor], ...] = (
    _light, _haze, _noise, _lines, _negative, _smear, _scatter, _outline,
)  # fmt: skip
