"""Strokes drawn into a batch of images: flags, feet, bars, slashes and hooks, which MNIST lacks; scribbles and blobs.

Pixels are float32 (n, 1, 28, 28) in [0, 1], foreground bright; points are float32 (n, 2), x and y in pixels.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from digit_recognizer.runtime.device import copy_to

SIZE = 28


def draw_strokes(pixels: Tensor, starts: Tensor, ends: Tensor, radii: Tensor) -> Tensor:
    """The images, each with a straight stroke added. radii: float32 (n,), half the stroke width in pixels."""
    line = torch.arange(SIZE, dtype=torch.float32, device=pixels.device)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)  # (28, 28, 2)
    stroke = (ends - starts)[:, None, None]  # (n, 1, 1, 2)
    offset = grid - starts[:, None, None]  # (n, 28, 28, 2)
    # Each pixel's projection onto the stroke, 0 at its start and 1 at its end.
    position = ((offset * stroke).sum(-1) / (stroke * stroke).sum(-1).clamp(min=1e-6)).clamp(0, 1)
    distance = (offset - position[..., None] * stroke).norm(dim=-1)
    return torch.maximum(pixels, (radii[:, None, None] + 0.5 - distance).clamp(0, 1)[:, None])


def add_styles(pixels: Tensor, labels: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Change digits to forms that other hands write, each at most with this probability. labels: int64 (n,).

    1s get a flag, and half of these a foot; 7s get a bar or become narrow; 0s get a slash, 6s a roof, 9s a hook or a
    bowl.
    """
    amounts = torch.rand(len(labels), generator=generator) / max(probability, 1e-6)
    pixels, on_cpu = pixels.clone(), labels.cpu()  # the only wait for a GPU; indices found there would be five more
    for digit, low, high, change in STYLES:
        indices = ((low <= amounts) & (amounts < high) & (on_cpu == digit)).nonzero().flatten()
        if len(indices):
            places = copy_to(indices, pixels.device)
            pixels[places] = change(pixels[places], generator)
    return pixels


def _slash(zeros: Tensor, generator: torch.Generator) -> Tensor:
    count, device = len(zeros), zeros.device
    half, angle = uniform(5, 11, generator, count), uniform(0.5, 1.2, generator, count)  # pixels; radians up
    stroke = copy_to(torch.stack([half * angle.cos(), -half * angle.sin()], dim=1), device)
    centre = torch.full_like(stroke, (SIZE - 1) / 2)
    return draw_strokes(zeros, centre - stroke, centre + stroke, copy_to(uniform(0.6, 1.3, generator, count), device))


def _hook(nines: Tensor, generator: torch.Generator) -> Tensor:
    count, device = len(nines), nines.device
    radii = copy_to(uniform(0.7, 1.5, generator, count), device)
    length, angle = uniform(3, 9, generator, count), uniform(-0.2, 0.6, generator, count)  # pixels; radians up
    bottoms = _stroke_end(nines, last=True)
    tips = bottoms - copy_to(torch.stack([length * angle.cos(), length * angle.sin()], dim=1), device)
    return draw_strokes(nines, bottoms, tips, radii)


def _bowl(nines: Tensor, generator: torch.Generator) -> Tensor:
    """Below the loop, an arc that is open to the left, as of a 3."""
    count, device = len(nines), nines.device
    first, last = _stroke_end(nines, last=False)[:, 1], _stroke_end(nines, last=True)[:, 1]
    rows = first + (last - first) * copy_to(uniform(0.4, 0.6, generator, count), device)
    height = (last - rows) / 2
    width = height * copy_to(uniform(0.8, 1.8, generator, count), device)
    radii = copy_to(uniform(0.7, 1.5, generator, count), device)
    columns = _middle_of_row(nines, rows.round().long()) - copy_to(uniform(0, 7, generator, count), device)
    start = torch.stack([columns, rows], dim=1)
    line = torch.arange(SIZE, dtype=torch.float32, device=device)
    drawn = torch.where((line <= rows[:, None])[:, None, :, None], nines, 0)
    end = copy_to(uniform(2.4, 4.2, generator, count), device)  # radians past the first point, the topmost
    point = start
    for step in range(1, 7):
        angle = end * step / 6
        offset = torch.stack([width * angle.sin(), height * (1 - angle.cos())], dim=1)
        drawn = draw_strokes(drawn, point, start + offset, radii)
        point = start + offset
    return drawn


def _roof(sixes: Tensor, generator: torch.Generator) -> Tensor:
    """The stem ends in a flat stroke to the right."""
    count, device = len(sixes), sixes.device
    length, angle = uniform(3, 9, generator, count), uniform(-0.5, 0.15, generator, count)  # pixels; radians up
    tops = _stroke_end(sixes, last=False)
    tips = tops + copy_to(torch.stack([length * angle.cos(), -length * angle.sin()], dim=1), device)
    return draw_strokes(sixes, tops, tips, copy_to(uniform(0.7, 1.5, generator, count), device))


def _narrow(digits: Tensor, generator: torch.Generator) -> Tensor:
    """The digits, 0.5 to 0.8 times as wide."""
    width = copy_to(uniform(0.5, 0.8, generator, len(digits)), digits.device)
    matrices = torch.zeros(len(digits), 2, 3, device=digits.device)
    matrices[:, 0, 0], matrices[:, 1, 1] = 1 / width, 1
    grid = F.affine_grid(matrices, list(digits.shape), align_corners=False)
    return F.grid_sample(digits, grid, align_corners=False)


def draw_bars(zeros: Tensor, generator: torch.Generator) -> Tensor:
    """Zeros with a bar across the middle, which makes a theta; half of them narrow."""
    count, device = len(zeros), zeros.device
    halved = copy_to(torch.rand(count, 1, 1, 1, generator=generator) < 0.5, device)
    zeros = torch.where(halved, _narrow(zeros, generator), zeros)
    half, tilt = uniform(2.5, 9, generator, count), uniform(-0.3, 0.3, generator, count)  # pixels; radians up
    bar = copy_to(torch.stack([half * tilt.cos(), -half * tilt.sin()], dim=1), device)
    centre = copy_to((SIZE - 1) / 2 + uniform(-1.5, 1.5, generator, count, 2), device)
    return draw_strokes(zeros, centre - bar, centre + bar, copy_to(uniform(0.7, 1.5, generator, count), device))


def _flag_and_foot(ones: Tensor, generator: torch.Generator) -> Tensor:
    count, device = len(ones), ones.device
    radii = copy_to(uniform(0.7, 2.2, generator, count), device)
    tops, bottoms = _stroke_end(ones, last=False), _stroke_end(ones, last=True)
    # A flatter flag would make a 7.
    length, angle = uniform(4, 12, generator, count), uniform(0.6, 1.2, generator, count)  # pixels; radians down
    tips = tops + copy_to(torch.stack([-length * angle.cos(), length * angle.sin()], dim=1), device)
    flagged = draw_strokes(ones, tops, tips, radii)
    half, tilt = uniform(2.5, 6.5, generator, count), uniform(-0.2, 0.2, generator, count)
    foot = copy_to(torch.stack([half, tilt * half], dim=1), device)
    both = draw_strokes(flagged, bottoms - foot, bottoms + foot, radii)
    footed = copy_to(torch.rand(count, generator=generator) < 0.5, device)
    return torch.where(footed[:, None, None, None], both, flagged)


def _bar(sevens: Tensor, generator: torch.Generator) -> Tensor:
    count, device = len(sevens), sevens.device
    first, last = _stroke_end(sevens, last=False)[:, 1], _stroke_end(sevens, last=True)[:, 1]
    rows = first + (last - first) * copy_to(uniform(0.42, 0.65, generator, count), device)
    half, tilt = uniform(2.5, 5.5, generator, count), uniform(-0.3, 0.3, generator, count)
    bar = copy_to(torch.stack([half, tilt * half], dim=1), device)
    centres = torch.stack([_middle_of_row(sevens, rows.round().long()), rows], dim=1)
    return draw_strokes(sevens, centres - bar, centres + bar, copy_to(uniform(0.7, 1.5, generator, count), device))


# Digit, and the part of the chosen ones, from and to, that get this change.
STYLES = (
    (0, 0, 0.4, _slash),
    (1, 0, 1, _flag_and_foot),
    (6, 0, 0.5, _roof),
    (7, 0, 0.6, _bar),
    (7, 0.6, 1, _narrow),
    (9, 0, 0.5, _hook),
    (9, 0.5, 1, _bowl),
)


def _stroke_end(pixels: Tensor, last: bool) -> Tensor:
    """The middle of the first row of foreground, or of the last one: float32 (n, 2)."""
    occupied = (pixels[:, 0].amax(dim=2) > 0.5).float()  # (n, 28), of each row
    order = torch.arange(1, SIZE + 1, device=pixels.device) if last else torch.arange(SIZE, 0, -1, device=pixels.device)
    rows = (occupied * order).argmax(1)
    return torch.stack([_middle_of_row(pixels, rows), rows.float()], dim=1)


def _middle_of_row(pixels: Tensor, rows: Tensor) -> Tensor:
    """The x of the centre of mass of one row of each image: float32 (n,). rows: int64 (n,)."""
    profile = pixels[torch.arange(len(pixels), device=pixels.device), 0, rows]  # (n, 28)
    line = torch.arange(SIZE, dtype=torch.float32, device=pixels.device)
    return (profile * line).sum(1) / profile.sum(1).clamp(min=1e-6)


def draw_path(points: Tensor, radii: Tensor) -> Tensor:
    """Images of one stroke each, straight from point to point. points: float32 (n, points, 2); radii: float32 (n,)."""
    pixels = torch.zeros(len(points), 1, SIZE, SIZE)
    for start, end in itertools.pairwise(points.unbind(1)):
        pixels = draw_strokes(pixels, start, end, radii)
    return pixels


def draw_scribbles(count: int, generator: torch.Generator) -> Tensor:
    """Images of two to five strokes, a quarter of them not joined to the last one: float32 (count, 1, 28, 28)."""
    pixels = torch.zeros(count, 1, SIZE, SIZE)
    radii = uniform(0.7, 1.6, generator, count)
    strokes = torch.randint(2, 6, (count,), generator=generator)
    end = uniform(4, 24, generator, count, 2)
    for number in range(5):
        apart = torch.rand(count, 1, generator=generator) < 0.25
        start = torch.where(apart, uniform(4, 24, generator, count, 2), end)
        end = uniform(4, 24, generator, count, 2)
        drawn = draw_strokes(pixels, start, end, radii)
        pixels = torch.where((strokes > number)[:, None, None, None], drawn, pixels)
    return pixels


def draw_blobs(count: int, generator: torch.Generator) -> Tensor:
    """Images of a filled disc or of a filled shape a little longer than wide: float32 (count, 1, 28, 28)."""
    radii = uniform(4.5, 9, generator, count)
    turn, half = uniform(0, 3.1416, generator, count), uniform(0, 0.25, generator, count) * radii
    along = torch.stack([half * turn.cos(), half * turn.sin()], dim=1)
    centre = torch.full_like(along, (SIZE - 1) / 2)
    return draw_strokes(torch.zeros(count, 1, SIZE, SIZE), centre - along, centre + along, radii)


def uniform(low: float, high: float, generator: torch.Generator, *shape: int) -> Tensor:
    """Random numbers between low and high: float32 of that shape."""
    return low + (high - low) * torch.rand(shape, generator=generator)
