"""Synthetic pages to learn reading from: digits written in rows on drawn paper, among what is to be left alone.

A page is a square picture with the boxes of its glyphs. All of it follows from (seed, index): nothing is stored.
"""

import itertools
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage

from digit_recognizer.data import outliers, paper, writing
from digit_recognizer.data.digits import Split
from digit_recognizer.data.writing import Glyph

SIDE = 192  # pixels of a page
# Heights of digits in pixels, and how many pages have them: too small to be found, small, to be found, too large.
SIZES = (((7, 13), 0.06), ((13, 20), 0.16), ((20, 84), 0.71), ((84, 170), 0.07))
PRINTED = outliers.LETTERS + "0123456789"
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


def make_page(source: Split, seed: int, index: int, side: int = SIDE, empty: bool = False) -> Page:
    """The page of that index. source: the digits that are written on it. empty: paper without any mark on it."""
    random = np.random.default_rng((seed, index))
    low, high = SIZES[random.choice(len(SIZES), p=[share for _, share in SIZES])][0]
    height = float(np.exp(random.uniform(np.log(low), np.log(high))))
    slope = random.normal(0, 0.03) if random.random() < 0.6 else random.uniform(-0.27, 0.27)
    ink, afar = np.zeros((side, side), np.float32), 1
    rows: list[list[tuple[int, int, Glyph]]] = []
    if random.random() > 0.19 and not empty:
        pen = writing.draw_pen(random)
        rows = writing.write_rows(source, side, pen, height, slope, random)
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
                ink,
                writing.write_rows(
                    source, len(ink), writing.draw_pen(random), afar * random.uniform(3.5, 6.5), slope, random
                ),
                random,
            )
    page, contrast = _compose(ink, rows, height, slope, empty, random)
    return _label(np.asarray(Image.fromarray(page).reduce(afar)), contrast, rows)


def render_letters() -> None:
    """Render the letters of all pages, which takes seconds; else the first pages do it that a process makes."""
    for letters in (writing.LETTERS, writing.WORD_LETTERS):
        outliers.render_letters(letters, writing.FONTS)
    outliers.render_letters(PRINTED)


def _put_rows(ink: np.ndarray, rows: list[list[tuple[int, int, Glyph]]], random: paper.Random) -> None:
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


def _compose(
    ink: np.ndarray,
    rows: list[list[tuple[int, int, Glyph]]],
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


def _label(image: np.ndarray, contrast: np.ndarray, rows: list[list[tuple[int, int, Glyph]]]) -> Page:
    """The page with its glyphs, as far as they are on it. contrast: of the ink, float32 of the image's shape."""
    side = len(image)
    boxes, labels, numbers, visible = [], [], [], []
    for number, row in enumerate(rows):
        for left, top, glyph in row:
            bottom, right = top + glyph.strength.shape[0], left + glyph.strength.shape[1]
            box = max(left, 0), max(top, 0), min(right, side), min(bottom, side)
            if box[2] <= box[0] or box[3] <= box[1]:
                continue
            inside = glyph.strength[max(0, -top) : side - top, max(0, -left) : side - left]
            seen = contrast[box[1] : box[3], box[0] : box[2]]
            is_seen = inside.sum() > 0 and (seen * inside).sum() > MIN_CONTRAST * inside.sum()
            boxes.append(box)
            labels.append(glyph.label)
            numbers.append(number)
            visible.append(is_seen and inside.sum() >= MIN_VISIBLE * glyph.strength.sum())
    return Page(
        image,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(numbers, np.int64),
        np.array(visible, bool),
    )


def _texture(shape: tuple[int, int], random: paper.Random) -> np.ndarray:
    """Noise as strong as ink, coarse or fine: float32, 0 to 1."""
    noise = ndimage.gaussian_filter(random.standard_normal(shape, dtype=np.float32), random.uniform(0.3, 6))
    return np.clip(0.5 + noise / noise.std() * random.uniform(0.2, 1) - random.uniform(0, 1), 0, 1)


def _distractors(
    shape: tuple[int, int], rows: list[list[tuple[int, int, Glyph]]], height: float, random: paper.Random
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


def _meets(rows: list[list[tuple[int, int, Glyph]]], left: float, top: float, right: float, bottom: float) -> bool:
    """Whether a box meets any glyph."""
    return any(
        x < right and left < x + glyph.strength.shape[1] and y < bottom and top < y + glyph.strength.shape[0]
        for row in rows
        for x, y, glyph in row
    )


def _text(
    shape: tuple[int, int], height: float, rows: list[list[tuple[int, int, Glyph]]], random: paper.Random
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
