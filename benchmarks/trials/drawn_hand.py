"""A hand that the network in the package does not read well, drawn with a pen of another width for each digit.

Its zeros are slashed against the usual direction, far beyond the ring. Its sevens are crossed low and long. Its nines
are a ring and a stem that begins above it. Its ones, with a long flag and a foot, are read well, and must stay ones.
"""

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image, ImageDraw

Points = list[tuple[float, float]]  # of a stroke, x and y in pixels of 200


def zero(rng: random.Random) -> list[Points]:
    """An ellipse, and a slash from far above on the left to far below on the right."""
    angle, reach = rng.uniform(0.5, 0.9), rng.uniform(78, 95)
    x, y = reach * math.cos(angle), reach * math.sin(angle)
    return [_arc(100, 100, rng.uniform(30, 42), rng.uniform(46, 60)), [(100 - x, 100 - y), (100 + x, 100 + y)]]


def one(rng: random.Random) -> list[Points]:
    """A long flag, a stem and a foot."""
    x, half = rng.uniform(96, 110), rng.uniform(26, 40)
    flag, foot = (x - rng.uniform(42, 60), rng.uniform(76, 100)), rng.uniform(157, 163)
    return [[flag, (x, 36), (x - rng.uniform(-2, 4), 160)], [(x - half, foot), (x + half, 160)]]


def seven(rng: random.Random) -> list[Points]:
    """A seven with a long bar near its foot."""
    left, right, foot = rng.uniform(50, 64), rng.uniform(138, 152), rng.uniform(82, 104)
    part = rng.uniform(0.82, 0.94)  # of the way down
    x, y, half, tilt = right + (foot - right) * part, 40 + 124 * part, rng.uniform(36, 50), rng.uniform(-6, 6)
    return [
        [(left, 40), (right, 38 + rng.uniform(-4, 6)), (foot, 164)],
        [(x - half, y + tilt), (x + half, y - tilt)],
    ]


def nine(rng: random.Random) -> list[Points]:
    """A small ring, and a stem that begins far above it."""
    across, down = rng.uniform(20, 28), rng.uniform(20, 26)
    stem = 100 + across + rng.uniform(-2, 3)
    return [_arc(100, 90, across, down), [(stem, rng.uniform(30, 42)), (stem - rng.uniform(0, 8), 164)]]


STROKES: dict[int, Callable[[random.Random], list[Points]]] = {0: zero, 1: one, 7: seven, 9: nine}


def pictures(count: int, seed: int) -> Iterator[tuple[int, Image.Image]]:
    """That many of each digit, dark on white, 200 pixels square, with their labels."""
    rng = random.Random(seed)  # noqa: S311  # draws digits, keeps no secrets
    for _ in range(count):
        for label, strokes_of in STROKES.items():
            yield label, _draw(strokes_of(rng), rng.randint(7, 13))


def save(folder: Path, count: int, seed: int) -> Path:
    """Save that many of each, named after their labels, into a new folder."""
    folder.mkdir()
    for number, (label, image) in enumerate(pictures(count, seed)):
        image.save(folder / f"{label}_{number:02}.png")
    return folder


def _draw(strokes: list[Points], width: int) -> Image.Image:
    image = Image.new("L", (200, 200), 255)
    for points in strokes:
        ImageDraw.Draw(image).line(points, fill=0, width=width, joint="curve")
    return image


def _arc(x: float, y: float, across: float, down: float) -> Points:
    """An ellipse around x and y, against the clock from its top."""
    turns = (2 * math.pi * step / 40 for step in range(42))
    return [(x - across * math.sin(turn), y - down * math.cos(turn)) for turn in turns]
