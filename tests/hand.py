"""A hand whose zeros and sevens are hard to read: a long slash through the zeros, a low bar across the sevens."""

import math
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw


def zero(rng: random.Random) -> Image.Image:
    """A narrow ellipse with a slash from far below on the left to far above on the right."""
    image, pen, width = _paper(rng)
    across, down = rng.uniform(26, 40), rng.uniform(46, 60)
    pen.line(_ellipse(across, down), fill=0, width=width, joint="curve")
    angle, reach = rng.uniform(0.6, 0.9), rng.uniform(80, 95)
    x, y = reach * math.cos(angle), reach * math.sin(angle)
    pen.line((100 - x, 100 + y, 100 + x, 100 - y), fill=0, width=width)
    return image


def seven(rng: random.Random) -> Image.Image:
    """A seven with a long bar near its foot."""
    image, pen, width = _paper(rng)
    left, right, foot = rng.uniform(50, 64), rng.uniform(138, 152), rng.uniform(82, 104)
    pen.line((left, 40, right, 38 + rng.uniform(-4, 6), foot, 164), fill=0, width=width, joint="curve")
    part = rng.uniform(0.82, 0.94)  # of the way down
    x, y, half = right + (foot - right) * part, 40 + 124 * part, rng.uniform(36, 48)
    tilt = rng.uniform(-6, 6)
    pen.line((x - half, y + tilt, x + half, y - tilt), fill=0, width=width)
    return image


def pictures(count: int, seed: int) -> Iterator[tuple[int, Image.Image]]:
    """That many of each, with their labels."""
    rng = random.Random(seed)
    for _ in range(count):
        yield 0, zero(rng)
        yield 7, seven(rng)


def save(folder: Path, count: int, seed: int) -> Path:
    """Save that many of each, named after their labels, into a new folder."""
    folder.mkdir()
    for number, (label, image) in enumerate(pictures(count, seed)):
        image.save(folder / f"{label}_{number:02}.png")
    return folder


def _paper(rng: random.Random) -> tuple[Image.Image, ImageDraw.ImageDraw, int]:
    image = Image.new("L", (200, 200), 255)
    return image, ImageDraw.Draw(image), rng.randint(8, 14)


def _ellipse(across: float, down: float) -> list[tuple[float, float]]:
    turns = (2 * math.pi * step / 40 for step in range(42))
    return [(100 + across * math.cos(turn), 100 + down * math.sin(turn)) for turn in turns]
