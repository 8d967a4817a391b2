"""Strokes drawn into a batch of pictures: the flags, feet and bars that people write and MNIST lacks; and scribbles.

Pixels are float32 (n, 1, 28, 28) in [0, 1], ink bright; places are float32 (n, 2), across and down, in pixels.
"""

import torch
from torch import Tensor

SIZE = 28


def draw(pixels: Tensor, starts: Tensor, ends: Tensor, radii: Tensor) -> Tensor:
    """The same pictures with a straight stroke in each. radii: float32 (n,), half the width, in pixels."""
    line = torch.arange(SIZE, dtype=torch.float32, device=pixels.device)
    places = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)  # (28, 28, 2)
    along = (ends - starts)[:, None, None]  # (n, 1, 1, 2)
    away = places - starts[:, None, None]  # (n, 28, 28, 2)
    share = ((away * along).sum(-1) / (along * along).sum(-1).clamp(min=1e-6)).clamp(0, 1)  # of the way to the end
    distance = (away - share[..., None] * along).norm(dim=-1)
    return torch.maximum(pixels, (radii[:, None, None] + 0.5 - distance).clamp(0, 1)[:, None])


def style(pixels: Tensor, labels: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Some 1s with a flag, of these half with a foot, and some 7s with a bar. labels: int64 (n,)."""
    chosen = torch.rand(len(labels), generator=generator) < probability
    pixels = pixels.clone()
    for digit, add in ((1, _flag_and_foot), (7, _bar)):
        those = (chosen.to(labels.device) & (labels == digit)).nonzero().flatten()
        if len(those):
            pixels[those] = add(pixels[those], generator)
    return pixels


def _flag_and_foot(ones: Tensor, generator: torch.Generator) -> Tensor:
    count, device = len(ones), ones.device
    radii = _uniform(0.7, 1.5, generator, count).to(device)
    tops, bottoms = _end(ones, last=False), _end(ones, last=True)
    length, angle = _uniform(4, 10, generator, count), _uniform(0.35, 1.1, generator, count)  # pixels; radians down
    tips = tops + torch.stack([-length * angle.cos(), length * angle.sin()], dim=1).to(device)
    flagged = draw(ones, tops, tips, radii)
    half, tilt = _uniform(2.5, 6.5, generator, count), _uniform(-0.2, 0.2, generator, count)
    foot = torch.stack([half, tilt * half], dim=1).to(device)
    both = draw(flagged, bottoms - foot, bottoms + foot, radii)
    footed = (torch.rand(count, generator=generator) < 0.5).to(device)
    return torch.where(footed[:, None, None, None], both, flagged)


def _bar(sevens: Tensor, generator: torch.Generator) -> Tensor:
    count, device = len(sevens), sevens.device
    first, last = _end(sevens, last=False)[:, 1], _end(sevens, last=True)[:, 1]
    rows = first + (last - first) * _uniform(0.42, 0.65, generator, count).to(device)
    line = torch.arange(SIZE, dtype=torch.float32, device=device)
    of_row = sevens[torch.arange(count, device=device), 0, rows.round().long()]  # (n, 28)
    middle = (of_row * line).sum(1) / of_row.sum(1).clamp(min=1e-6)
    half, tilt = _uniform(2.5, 5.5, generator, count), _uniform(-0.3, 0.3, generator, count)
    bar = torch.stack([half, tilt * half], dim=1).to(device)
    centres = torch.stack([middle, rows], dim=1)
    return draw(sevens, centres - bar, centres + bar, _uniform(0.7, 1.5, generator, count).to(device))


def _end(pixels: Tensor, last: bool) -> Tensor:
    """Where the ink begins above, or ends below: float32 (n, 2)."""
    inked = (pixels[:, 0].amax(dim=2) > 0.5).float()  # (n, 28), of each row
    order = torch.arange(1, SIZE + 1, device=pixels.device) if last else torch.arange(SIZE, 0, -1, device=pixels.device)
    rows = (inked * order).argmax(1)
    of_row = pixels[torch.arange(len(pixels), device=pixels.device), 0, rows]  # (n, 28)
    line = torch.arange(SIZE, dtype=torch.float32, device=pixels.device)
    across = (of_row * line).sum(1) / of_row.sum(1).clamp(min=1e-6)
    return torch.stack([across, rows.float()], dim=1)


def scribbles(count: int, generator: torch.Generator) -> Tensor:
    """Two to five strokes, each from where the last one ended or from anywhere: float32 (count, 1, 28, 28)."""
    pixels = torch.zeros(count, 1, SIZE, SIZE)
    radii = _uniform(0.7, 1.6, generator, count)
    strokes = torch.randint(2, 6, (count,), generator=generator)
    end = _uniform(4, 24, generator, count, 2)
    for number in range(5):
        apart = torch.rand(count, 1, generator=generator) < 0.25
        start = torch.where(apart, _uniform(4, 24, generator, count, 2), end)
        end = _uniform(4, 24, generator, count, 2)
        drawn = draw(pixels, start, end, radii)
        pixels = torch.where((strokes > number)[:, None, None, None], drawn, pixels)
    return pixels


def _uniform(low: float, high: float, generator: torch.Generator, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)
