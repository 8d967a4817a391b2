"""Rows of digits, and of what is none, as one hand writes them with one pen: the strokes alone, without paper."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from skimage import morphology
from torch import Tensor

from digit_recognizer.data import digits as digit_sets
from digit_recognizer.data import outliers, paper, strokes
from digit_recognizer.data.augmentation import augment, warp
from digit_recognizer.data.digits import Split
from digit_recognizer.recipes.page_reader import OTHER
from digit_recognizer.recipes.recipe import Augmentation

GLYPH_SIDE = 64  # pixels in which a glyph is drawn before it gets its size
HAND = Augmentation(rotation=10, scale=0.12, shear=0.2, elastic=1.1, stroke=0.4, styles=0.5, shift=1)
# Written with the same pens as the digits, so that the shape alone tells them apart.
LETTERS = outliers.LETTERS + "()[]!-−∑∂¿"
# In a word, letters that look like digits are letters.
WORD_LETTERS = LETTERS + "BDGIJLOQSTUZbgijloqstz"
FONTS = (*outliers.FONTS, "DejaVuSans-Oblique", "DejaVuSerif", "STIXGeneralBolIta")


class Glyph(NamedTuple):
    """A glyph in its size. strength: float32 (height, width), 0 to 1, tight. label: 0 to 9 or OTHER."""

    strength: np.ndarray
    label: int


@dataclass(frozen=True)
class Pen:
    """What the strokes of a page are like. width: of the stroke, as a fraction of the digits' height.

    outline: the strokes keep the shape that MNIST's have; else they are drawn along their skeleton. even: 0 to 1.
    """

    width: float
    outline: bool
    even: float


def draw_pen(random: paper.Random) -> Pen:
    """A pen of random width and evenness."""
    outline = random.random() < 0.4
    width = float(np.exp(random.uniform(np.log(0.08 if outline else 0.035), np.log(0.24))))
    return Pen(width, outline, 1 if random.random() < 0.7 else random.uniform(0.5, 1))


def write_rows(
    source: Split, side: int, pen: Pen, height: float, slope: float, random: paper.Random
) -> list[list[tuple[int, int, Glyph]]]:
    """Rows of glyphs at their places: left, top, glyph."""
    line = height * random.uniform(1.15, 2.6)  # from one row to the next
    gap_kind = random.random()
    # The page shows a part of a larger one: rows may begin and end beyond it.
    start_x = random.uniform(-0.5, 0.6) * side if random.random() < 0.7 else random.uniform(0, 0.8) * side
    start_y = random.uniform(-0.2, 0.8) * side if random.random() < 0.6 else random.uniform(0, line)
    row_count = min(12, 1 + int((side - start_y) / line)) if random.random() < 0.5 else int(random.integers(1, 3))
    length = int(random.integers(4, 11))
    only = int(random.choice([1, 2, 3, length, 100], p=[0.2, 0.1, 0.08, 0.22, 0.4]))  # glyphs of a row
    row_count = 1 if only == 1 and random.random() < 0.7 else row_count
    other_share = random.choice([0, 0.1, 0.35, 1], p=[0.48, 0.17, 0.15, 0.2])
    ones = random.random() < (0.35 if only == 1 else 0.1)  # lone straight 1s are the easiest to miss
    letters = WORD_LETTERS if other_share == 1 and only >= 4 else LETTERS
    count = sum(min(only, int((side - start_x) / (0.5 * height)) + 2) for _ in range(row_count))
    turn = slope if random.random() < 0.7 else 0  # a page that was photographed askew, or a row that rises
    glyphs = _make_glyphs(source, min(count, 400), pen, height, turn, (other_share, letters), ones, random)
    rows = []
    for number in range(row_count):
        row: list[tuple[int, int, Glyph]] = []
        x, y = start_x + random.normal(0, 0.1) * height, start_y + number * line
        last: tuple[int, int, Glyph] | None = None
        for _ in range(only):
            glyph = next(glyphs, None)
            if glyph is None:
                break
            tall, wide = glyph.strength.shape
            middle = y + slope * x + random.normal(0, 0.05) * height + height / 2
            top = int(
                middle + (height - tall) * (random.choice([0.5, -0.2, 0]) if tall < 0.6 * height else 0) - tall / 2
            )
            left = int(x) if last is None else _beside(last, glyph, top, _gap(gap_kind, height, random))
            if left > side:
                break
            last = (left, top, glyph)
            row.append(last)
            x = left + wide
        if row:
            rows.append(row)
    return rows


def _gap(kind: float, height: float, random: paper.Random) -> float:
    """Pixels between the outlines of two glyphs; negative where they overlap."""
    if kind < 0.24:
        return random.uniform(-0.16, 0.02) * height
    if kind < 0.38:
        return random.uniform(-0.1, 0.35) * height
    if kind < 0.62:
        return random.uniform(0.02, 0.2) * height
    if kind < 0.82:
        return random.uniform(0.15, 0.6) * height
    return random.uniform(0.5, 2) * height


def _beside(last: tuple[int, int, Glyph], glyph: Glyph, top: int, gap: float) -> int:
    """Where a glyph begins whose strokes come as near to the last one's as the gap says."""
    left, last_top, before = last
    first, second = max(top, last_top), min(top + glyph.strength.shape[0], last_top + before.strength.shape[0])
    if second - first < 2:
        return int(left + before.strength.shape[1] + gap)
    one = before.strength[first - last_top : second - last_top] > 0.5
    two = glyph.strength[first - top : second - top] > 0.5
    ends = np.where(one.any(1), one.shape[1] - one[:, ::-1].argmax(1), -1000)
    starts = np.where(two.any(1), two.argmax(1), 1000)
    # Strokes are near each other also where one lies a little lower than the other.
    reach = ndimage.maximum_filter1d(ends, 5) - ndimage.minimum_filter1d(starts, 5)
    nearest = int(reach.max())
    if nearest < -500:
        return int(left + before.strength.shape[1] + gap)
    return max(left + before.strength.shape[1] // 4, int(left + nearest + gap))


def _make_glyphs(
    source: Split,
    count: int,
    pen: Pen,
    height: float,
    turn: float,
    others_of: tuple[float, str],
    ones: bool,
    random: paper.Random,
) -> Iterator[Glyph]:
    """Glyphs of one hand and pen, drawn when they are asked for, about as high as the digits of the page.

    turn: clockwise, in radians.
    others_of: the share of glyphs that are not digits, and the letters among them.
    """
    generator = torch.Generator().manual_seed(int(random.integers(2**62)))
    chosen = torch.from_numpy(random.integers(0, len(source.labels), count))
    if ones:
        indices = (source.labels == 1).nonzero().flatten()
        chosen = torch.where(torch.from_numpy(random.random(count) < 0.7), indices[chosen % len(indices)], chosen)
    labels = source.labels[chosen].clone()
    pixels = digit_sets.to_pixels(source.images[chosen])
    pixels = augment(pixels, HAND, generator, labels)
    if random.random() < 0.15:
        pixels = _break_strokes(pixels, generator)
    others = torch.from_numpy(random.random(count) < others_of[0])
    if others.any():
        made = augment(_make_others(pixels, labels, int(others.sum()), others_of[1], generator), HAND, generator)
        pixels[others.nonzero().flatten()[: len(made)]] = made
        labels[others] = OTHER
    if turn:
        cos, sin = np.cos(turn), np.sin(turn)
        matrix = torch.tensor([[cos, sin, 0], [-sin, cos, 0]], dtype=torch.float32).expand(count, 2, 3)
        pixels = warp(pixels, F.affine_grid(matrix, list(pixels.shape), align_corners=False))
    large = F.interpolate(pixels, size=GLYPH_SIDE, mode="bicubic", align_corners=False)[:, 0].numpy()
    sizes = height * np.exp(random.normal(0, 0.06, count))
    if random.random() < 0.15:
        sizes = sizes * random.choice([1, 0.6], count)
    stretch = float(np.exp(random.normal(0, 0.15)))
    for strength, size, label in zip(large, sizes, labels.tolist(), strict=True):
        glyph = _draw(strength, pen, float(size), stretch, label)
        if glyph is not None:
            yield glyph


def _break_strokes(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Digits with a narrow gap across them, as of two strokes that do not meet, or of a pen that skips."""
    count = len(pixels)
    ends = 7 + 14 * torch.rand(2, count, 2, generator=generator)
    gaps = strokes.draw_strokes(torch.zeros_like(pixels), ends[0], ends[1], torch.full((count,), 0.6))
    broken = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
    return torch.where(broken, pixels * (1 - gaps), pixels)


def _make_others(pixels: Tensor, labels: Tensor, count: int, letters: str, generator: torch.Generator) -> Tensor:
    """Letters, signs, scribbles and mirrored digits: float32 (count, 1, 28, 28)."""
    printed = outliers.render_letters(letters, FONTS)
    made = digit_sets.to_pixels(printed[torch.randint(len(printed), (count,), generator=generator)])
    kinds = torch.rand(count, generator=generator)
    bent = (kinds > 0.5).nonzero().flatten()
    if len(bent):
        made[bent] = augment(made[bent], outliers.BENT, generator)
    scribbled = (kinds < 0.2).nonzero().flatten()
    made[scribbled] = strokes.draw_scribbles(len(scribbled), generator)
    mirrored = (kinds > 0.9).nonzero().flatten()
    fitting = torch.isin(labels, torch.tensor(outliers.MIRRORED)).nonzero().flatten()
    if len(fitting):
        picked = fitting[torch.randint(len(fitting), (len(mirrored),), generator=generator)]
        made[mirrored] = pixels[picked].flip(3)
    return made


def _draw(strength: np.ndarray, pen: Pen, height: float, stretch: float, label: int) -> Glyph | None:
    """A glyph of that height in pixels, drawn with the pen. stretch: of its width.

    strength: float32 (GLYPH_SIDE, GLYPH_SIDE).
    """
    mask = np.pad(strength, 6) > 0.45
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    extent = max(rows[-1] - rows[0], 0.6 * (columns[-1] - columns[0])) + 1
    mask = mask[max(0, rows[0] - 6) : rows[-1] + 7, max(0, columns[0] - 6) : columns[-1] + 7]
    scale = height / extent
    if pen.outline:
        # The edge is moved so that strokes of MNIST's usual width, 0.15 of the height, get the pen's.
        distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
        radius = (pen.width - 0.15) / 2 * height * 0.7
    else:
        skeleton = morphology.skeletonize(mask)
        distance = -ndimage.distance_transform_edt(~skeleton)
        radius = max(pen.width * height, 1.0) / 2
    margin = 2 + int(max(radius, 0))
    size = max(3, round(mask.shape[1] * scale * stretch)), max(3, round(mask.shape[0] * scale))
    field = np.asarray(Image.fromarray(distance.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)) * scale
    field = np.pad(field, margin, mode="edge")
    if margin:  # beyond the edge the distance grows on
        y, x = paper.coordinates(*field.shape)
        beyond = np.hypot(
            np.maximum(np.maximum(margin - x, x - field.shape[1] + 1 + margin), 0),
            np.maximum(np.maximum(margin - y, y - field.shape[0] + 1 + margin), 0),
        )
        field = field - beyond
    drawn = np.clip(field + radius + 0.5, 0, 1).astype(np.float32)
    rows, columns = np.flatnonzero((drawn > 0.3).any(1)), np.flatnonzero((drawn > 0.3).any(0))
    if not len(rows):
        return None
    return Glyph(drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], label)
