"""Synthetic pages to learn reading from: digits written in rows on drawn paper, among what is to be left alone.

A page is a square picture with the boxes of its glyphs. All of it follows from (seed, index): nothing is stored.
"""

import itertools
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

SIDE = 192  # pixels of a page
# Heights of digits in pixels, and how many pages have them: too small to be found, small, to be found, too large.
SIZES = (((7, 13), 0.06), ((13, 20), 0.16), ((20, 84), 0.71), ((84, 170), 0.07))
GLYPH_SIDE = 64  # pixels in which a glyph is drawn before it gets its size
HAND = Augmentation(rotation=10, scale=0.12, shear=0.2, elastic=1.1, stroke=0.4, styles=0.5, shift=1)
# Written with the same pens as the digits, so that the shape alone tells them apart.
LETTERS = outliers.LETTERS + "()[]!-−∑∂¿"
# In a word, letters that look like digits are letters.
WORD_LETTERS = LETTERS + "BDGIJLOQSTUZbgijloqstz"
PRINTED = outliers.LETTERS + "0123456789"
FONTS = (*outliers.FONTS, "DejaVuSans-Oblique", "DejaVuSerif", "STIXGeneralBolIta")
MIN_VISIBLE = 0.75  # of a glyph's foreground; a glyph of which less lies on the page is not to be found
MIN_CONTRAST = 0.035  # of black to white, below which a glyph cannot be seen


class Page(NamedTuple):
    """image: uint8 (side, side). boxes: float32 (n, 4), left, top, right, bottom in pixels, in reading order.

    labels: int64 (n,), 0 to 9 or OTHER. rows: int64 (n,), of each glyph. visible: bool (n,), False where too little of
    a glyph is on the page.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    visible: np.ndarray


class _Glyph(NamedTuple):
    """A glyph in its size. strength: float32 (height, width), 0 to 1, tight. label: 0 to 9 or OTHER."""

    strength: np.ndarray
    label: int


@dataclass(frozen=True)
class _Pen:
    """What the strokes of a page are like. width: of the stroke, as a fraction of the digits' height.

    outline: the strokes keep the shape that MNIST's have; else they are drawn along their skeleton. even: 0 to 1.
    """

    width: float
    outline: bool
    even: float


def make_page(source: Split, seed: int, index: int, side: int = SIDE, empty: bool = False) -> Page:
    """The page of that index. source: the digits that are written on it. empty: paper without any mark on it."""
    random = np.random.default_rng((seed, index))
    low, high = SIZES[random.choice(len(SIZES), p=[share for _, share in SIZES])][0]
    height = float(np.exp(random.uniform(np.log(low), np.log(high))))
    slope = random.normal(0, 0.03) if random.random() < 0.6 else random.uniform(-0.27, 0.27)
    ink, afar = np.zeros((side, side), np.float32), 1
    rows: list[list[tuple[int, int, _Glyph]]] = []
    if random.random() > 0.19 and not empty:
        pen = _pen(random)
        rows = _write(source, side, pen, height, slope, random)
        _put_rows(ink, rows, random)
        if pen.even < 1:
            grain = ndimage.gaussian_filter(random.standard_normal(ink.shape, dtype=np.float32), random.uniform(0.4, 2))
            ink *= np.clip(pen.even + (1 - pen.even) * (0.5 + grain * 2), 0, 1)
    elif random.random() < 0.12 and not empty:
        ink = _texture(ink.shape, random)
    elif random.random() < 0.5 and not empty:  # as a whole photograph is seen from afar
        afar = int(random.integers(2, 4))
        ink = np.zeros((afar * side, afar * side), np.float32)
        if random.random() < 0.12:  # with writing that is too small to be read from there
            _put_rows(
                ink, _write(source, len(ink), _pen(random), afar * random.uniform(3.5, 6.5), slope, random), random
            )
    page, contrast = _compose(ink, rows, height, slope, empty, random)
    page = np.asarray(Image.fromarray(page).reduce(afar))
    boxes, labels, numbers, visible = [], [], [], []
    for number, row in enumerate(rows):
        for left, top, glyph in row:
            bottom, right = top + glyph.strength.shape[0], left + glyph.strength.shape[1]
            inside = glyph.strength[max(0, -top) : max(0, side - top), max(0, -left) : max(0, side - left)]
            boxes.append((max(left, 0), max(top, 0), min(right, side), min(bottom, side)))
            labels.append(glyph.label)
            numbers.append(number)
            seen = contrast[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
            is_seen = inside.sum() > 0 and (seen * inside).sum() > MIN_CONTRAST * inside.sum()
            visible.append(is_seen and inside.sum() >= MIN_VISIBLE * glyph.strength.sum())
    kept = [place for place, (left, top, right, bottom) in enumerate(boxes) if right > left and bottom > top]
    return Page(
        page,
        np.array(boxes, np.float32).reshape(-1, 4)[kept],
        np.array(labels, np.int64)[kept],
        np.array(numbers, np.int64)[kept],
        np.array(visible, bool)[kept],
    )


def render_letters() -> None:
    """Render the letters of all pages, which takes seconds; else the first pages do it that a process makes."""
    for letters in (LETTERS, WORD_LETTERS):
        outliers.render_letters(letters, FONTS)
    outliers.render_letters(PRINTED)


# writing


def _pen(random: paper.Random) -> _Pen:
    outline = random.random() < 0.4
    width = float(np.exp(random.uniform(np.log(0.08 if outline else 0.035), np.log(0.24))))
    return _Pen(width, outline, 1 if random.random() < 0.7 else random.uniform(0.5, 1))


def _write(
    source: Split, side: int, pen: _Pen, height: float, slope: float, random: paper.Random
) -> list[list[tuple[int, int, _Glyph]]]:
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
        row: list[tuple[int, int, _Glyph]] = []
        x, y = start_x + random.normal(0, 0.1) * height, start_y + number * line
        last: tuple[int, int, _Glyph] | None = None
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


def _beside(last: tuple[int, int, _Glyph], glyph: _Glyph, top: int, gap: float) -> int:
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
    pen: _Pen,
    height: float,
    turn: float,
    others_of: tuple[float, str],
    ones: bool,
    random: paper.Random,
) -> Iterator[_Glyph]:
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


def _draw(strength: np.ndarray, pen: _Pen, height: float, stretch: float, label: int) -> _Glyph | None:
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
    return _Glyph(drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], label)


def _put_rows(ink: np.ndarray, rows: list[list[tuple[int, int, _Glyph]]], random: paper.Random) -> None:
    """Write rows of glyphs onto the page, each with a pressure of its own."""
    for left, top, glyph in itertools.chain.from_iterable(rows):
        _put(ink, left, top, glyph.strength * random.uniform(0.8, 1))


def _put(ink: np.ndarray, left: int, top: int, strength: np.ndarray) -> None:
    """Write a glyph onto the page where it is on it."""
    bottom, right = top + strength.shape[0], left + strength.shape[1]
    here = ink[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if here.size:
        there = strength[max(-top, 0) :, max(-left, 0) :][: here.shape[0], : here.shape[1]]
        np.maximum(here, there, out=here)


# the page


def _compose(
    ink: np.ndarray,
    rows: list[list[tuple[int, int, _Glyph]]],
    height: float,
    slope: float,
    empty: bool,
    random: paper.Random,
) -> tuple[np.ndarray, np.ndarray]:
    """Ink on paper, lit and photographed: uint8 (side, side), and the contrast of the ink, float32 of that shape."""
    shape = ink.shape
    if random.random() < 0.15:
        ink = (ink > 0.5).astype(np.float32)  # as a mouse draws
    blackness = random.uniform(0.2, 1) if random.random() < 0.75 else random.uniform(0.08, 0.3)
    page = paper.draw_blank(shape, random)
    if random.random() < 0.4:
        print_ = paper.draw_lines(shape, height, slope + random.normal(0, 0.02), random)
        page *= 1 - blackness * random.uniform(0.15, 1.05) * print_
    for print_ in [] if empty else _distractors(shape, rows, height, random):
        page *= 1 - min(1, blackness * random.uniform(0.3, 1.2)) * print_
    if random.random() < 0.06:  # print that shows through from the back
        page *= 1 - random.uniform(0.02, 0.2) * blackness * ndimage.gaussian_filter(np.roll(ink, 37, 0)[:, ::-1], 1.2)
    # What lies beside the page: before light falls on it, or after, as where a picture was turned.
    light_first, has_surroundings = random.random() < 0.4, random.random() < 0.35
    if has_surroundings and not light_first:
        page = _with_surroundings(page, ink, random)
    page = page * random.uniform(0.55, 1)
    if random.random() < 0.65:
        page = page * paper.draw_light(shape, random)
    if has_surroundings and light_first:
        page = _with_surroundings(page, ink, random)
    written = page * (1 - blackness * ink)
    contrast = np.clip(page, 0, 1) - np.clip(written, 0, 1)
    if random.random() < 0.22:  # light on dark, as on a board or a screen
        written = 1 - written
    return paper.photograph(written.astype(np.float32), random), contrast


def _with_surroundings(page: np.ndarray, ink: np.ndarray, random: paper.Random) -> np.ndarray:
    """The page with what lies beside it, where that hides no writing in one of three trials; else the page itself."""
    is_written = ndimage.maximum_filter(ink, 9) > 0.2
    for _ in range(3):
        around, sheet = paper.draw_surroundings(page, random)
        if not (~sheet & is_written).any():
            return around
    return page


def _texture(shape: tuple[int, int], random: paper.Random) -> np.ndarray:
    """Noise as strong as ink, coarse or fine: float32, 0 to 1."""
    noise = ndimage.gaussian_filter(random.standard_normal(shape, dtype=np.float32), random.uniform(0.3, 6))
    return np.clip(0.5 + noise / noise.std() * random.uniform(0.2, 1) - random.uniform(0, 1), 0, 1)


def _distractors(
    shape: tuple[int, int], rows: list[list[tuple[int, int, _Glyph]]], height: float, random: paper.Random
) -> list[np.ndarray]:
    """Prints and marks that are not glyphs: form boxes, frames, rules, circles, dots, long strokes, lines of text."""
    made = []
    side = shape[0]
    width = max(0.8, height / 30) * random.uniform(0.6, 2)
    if random.random() < 0.12:  # a box around each glyph, and empty ones
        for row in rows:
            for left, top, glyph in row:
                tall, wide = glyph.strength.shape
                edge = height * random.uniform(0.12, 0.3)
                made.append(
                    paper.draw_box(shape, (left - edge, top - edge, left + wide + edge, top + tall + edge), width)
                )
    if random.random() < 0.12:  # empty boxes in a row
        box = height * random.uniform(0.4, 1.8), height * random.uniform(0.5, 1.6)
        x, y = random.uniform(0, side / 2), random.uniform(0, side)
        pitch = box[0] * random.uniform(1, 1.5)
        if not _meets(rows, x, y, x + 5 * pitch, y + box[1]):
            made += [
                paper.draw_box(shape, (x + place * pitch, y, x + place * pitch + box[0], y + box[1]), width)
                for place in range(int(random.integers(1, 6)))
            ]
    for _ in range(int(random.integers(1, 4)) if random.random() < 0.25 else 0):  # long strokes and rules
        start, end = random.uniform(-0.2, 1.2, (2, 2)) * side
        if random.random() < 0.6:
            end = start + np.array([random.normal(0, 0.04), random.choice([-1, 1])])[:: random.choice([-1, 1])] * side
        if np.hypot(*(end - start)) > max(2.2 * height, 1.3 * SIZES[-1][0][0]):  # a shorter one might be a 1
            made.append(paper.draw_segment(shape, tuple(start), tuple(end), width * random.uniform(0.5, 3)))
    for _ in range(int(random.integers(1, 4)) if random.random() < 0.15 else 0):  # discs, holes, dots, rings
        radius = height * 10 ** random.uniform(-1.3, 0.3)
        centre = tuple(random.uniform(0, side, 2))
        if not _meets(rows, *(value - 1.3 * radius for value in centre), *(value + 1.3 * radius for value in centre)):
            ring = width if random.random() < 0.4 and 2 * radius > 1.3 * SIZES[-1][0][0] else None  # or it might be a 0
            made.append(paper.draw_ellipse(shape, centre, (radius, radius * random.uniform(0.8, 1.2)), ring))
    if random.random() < 0.1:
        made.append(_text(shape, height, rows, random))
    return made


def _meets(rows: list[list[tuple[int, int, _Glyph]]], left: float, top: float, right: float, bottom: float) -> bool:
    """Whether a box meets any glyph."""
    return any(
        x < right and left < x + glyph.strength.shape[1] and y < bottom and top < y + glyph.strength.shape[0]
        for row in rows
        for x, y, glyph in row
    )


def _text(
    shape: tuple[int, int], height: float, rows: list[list[tuple[int, int, _Glyph]]], random: paper.Random
) -> np.ndarray:
    """Lines of small print, too small to be read in this page, where there is no writing."""
    print_ = np.zeros(shape, np.float32)
    letters = outliers.render_letters(PRINTED)
    size = int(random.integers(5, 10))
    y = random.uniform(0, shape[0])
    for _ in range(int(random.integers(1, 6))):
        chosen = letters[random.integers(0, len(letters), shape[1] // size)].float().div(255)[:, None]
        small = F.interpolate(chosen, size=(size + 2, size + 2), mode="area")[:, 0].numpy()
        spaces = random.random(len(small)) < 0.18
        line = np.concatenate(
            [np.zeros_like(part) if space else part for part, space in zip(small, spaces, strict=True)], 1
        )
        if not _meets(rows, 0, y - 2, shape[1], y + size + 4):
            _put(print_, int(random.uniform(0, 20)), int(y), line)
        y += size * 1.7
    return print_
