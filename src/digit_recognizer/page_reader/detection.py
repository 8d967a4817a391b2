"""Find glyphs in a picture with PageNet: a pyramid of resolutions, peaks of the maps, suppression of repetitions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from digit_recognizer.page_reader.maps import MULTIPLE, STRIDE, Maps

MIN_SIDE = 48  # pixels on the longest side of the pyramid's smallest level
MAX_PIXELS = 410_000  # of a level that is larger than the picture
MIN_SIZE, MAX_SIZE = 11, 92  # pixels, longest side of a glyph in the level where it is found
MIN_WIDTH = 2  # pixels in the same level; what is narrower lies beyond the picture's edge
BEST_SIZE = 64  # pixels, longest side of a glyph in the level where it is seen best
MIN_SCORE = 0.1  # of a peak; what is fainter is nowhere looked at
MIN_READ_SCORE = 0.45  # of a glyph that is read
MAX_PEAKS = 1500  # of a level
MAX_INSIDE = 0.8  # of the smaller of two glyphs, in the box of the other
MAX_PART_INSIDE = 0.5  # the same, where one is MIN_RATIO times as long as the other
MIN_RATIO = 1.4
MAX_REPEATED = 0.5  # of the smaller of two glyphs that look alike, in the box of the other: two findings of one stroke
MAX_OVERLAP = 0.45  # intersection over union of two glyphs

# PageNet, computed by whatever can: float32 (1, 1, height, width), both sides multiples of MULTIPLE, to arrays.
ComputeMaps = Callable[[np.ndarray], Maps]


@dataclass(frozen=True)
class Glyph:
    """box: left, top, right, bottom in the picture's pixels. score: 0 to 1, that there is a glyph.

    probabilities: float32 (CLASSES,), of the ten digits and of a glyph that is none.
    """

    box: tuple[float, float, float, float]
    score: float
    probabilities: np.ndarray


def find_glyphs(compute_maps: ComputeMaps, grey: np.ndarray, size: float | None = None) -> list[Glyph]:
    """All glyphs of a picture, the surest first. grey: float32 (height, width), 0 black to 1 white.

    size: of the glyphs in pixels where it is known, which saves time; else a pyramid of all resolutions is searched.
    """
    found = [_of_level(compute_maps, grey, scale) for scale in _scales(grey.shape, size)]
    boxes, scores, classes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return _suppress(boxes, scores, classes)


def find_centres(compute_maps: ComputeMaps, grey: np.ndarray) -> np.ndarray:
    """How probable it is that a glyph's centre is at each pixel: float32 (height, width), the highest of all levels."""
    centres = np.zeros(grey.shape, np.float32)
    for scale in _scales(grey.shape, None):
        scaled = resize(grey, scale)
        centre = _sigmoid(_maps(compute_maps, scaled).centre[0, 0])
        centre = resize(centre, STRIDE)[: scaled.shape[0], : scaled.shape[1]]
        image = Image.fromarray(np.ascontiguousarray(centre))
        centres = np.maximum(centres, np.asarray(image.resize(grey.shape[::-1], Image.Resampling.BILINEAR)))
    return centres


def _scales(shape: tuple[int, ...], size: float | None) -> list[float]:
    """Of the levels of the pyramid, each half of the one before. Small pictures are enlarged."""
    height, width = shape
    enlarged = min(2.0, math.sqrt(MAX_PIXELS / (height * width)))
    largest = enlarged if enlarged > 1.4 else 1.0
    if size is not None:
        first = min(largest, BEST_SIZE / size)
        return [first, first / 2]
    count = max(1, math.floor(math.log2(largest * max(height, width) / MIN_SIDE)) + 1)
    return [largest / 2**level for level in range(count)]


def _of_level(compute_maps: ComputeMaps, grey: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4) in the picture's pixels, scores (n,) and class probabilities (n, CLASSES) of one level."""
    scaled = resize(grey, scale)
    height, width = scaled.shape
    maps = _maps(compute_maps, scaled)
    centre = _sigmoid(maps.centre[0, 0])
    is_peak = (centre > MIN_SCORE) & (ndimage.maximum_filter(centre, 3, mode="nearest") == centre)
    rows, columns = is_peak.nonzero()
    surest = np.argsort(-centre[rows, columns], kind="stable")[:MAX_PEAKS]
    rows, columns = rows[surest], columns[surest]
    offset, size = (each[0, :, rows, columns].T for each in (maps.offset, maps.size))  # (2, n)
    middle = (np.stack([columns, rows]) + 0.5 + offset) * STRIDE
    half = np.exp(size) * STRIDE / 2
    boxes = np.clip(np.concatenate([middle - half, middle + half]), 0, np.array([[width], [height]] * 2))
    sides = boxes[2:] - boxes[:2]
    kept = (sides.max(0) >= MIN_SIZE) & (sides.max(0) <= MAX_SIZE) & (sides.min(0) >= MIN_WIDTH)
    ratio = np.array([[grey.shape[1] / width], [grey.shape[0] / height]] * 2)
    logits = maps.classes[0, :, rows, columns]  # (n, CLASSES)
    classes = np.exp(logits - logits.max(1, keepdims=True))
    classes /= classes.sum(1, keepdims=True)
    return (boxes * ratio)[:, kept].T, centre[rows, columns][kept], classes[kept]


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


def resize(grey: np.ndarray, scale: float) -> np.ndarray:
    """The picture in another size; where it gets smaller, all pixels count."""
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return np.asarray(Image.fromarray(np.ascontiguousarray(grey)).resize((width, height), Image.Resampling.BILINEAR))


def _maps(compute_maps: ComputeMaps, grey: np.ndarray) -> Maps:
    """Of a picture whose right and lower edge are repeated until PageNet takes it."""
    height, width = grey.shape
    return compute_maps(np.pad(grey, ((0, -height % MULTIPLE), (0, -width % MULTIPLE)), mode="edge")[None, None])


def _suppress(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> list[Glyph]:
    """One glyph for all findings of it; their class probabilities are averaged, weighted by their scores.

    Findings of a part of a glyph, such as the loop of a 9, or of several together, are dropped.
    """
    order = np.argsort(-scores)
    boxes, scores, classes = boxes[order], scores[order], classes[order]
    sides = boxes[:, 2:] - boxes[:, :2]
    area, longest, labels = sides.prod(1), sides.max(1), classes.argmax(1)
    free = np.ones(len(boxes), bool)
    glyphs = []
    for place in range(len(boxes)):
        if not free[place]:
            continue
        corners = np.minimum(boxes[:, 2:], boxes[place, 2:]) - np.maximum(boxes[:, :2], boxes[place, :2])
        common = np.clip(corners, 0, None).prod(1)
        same = free & (common > MAX_OVERLAP * (area + area[place] - common))
        same[place] = True
        differ = np.maximum(longest, longest[place]) > MIN_RATIO * np.minimum(longest, longest[place])
        most = np.where(differ, MAX_PART_INSIDE, np.where(labels == labels[place], MAX_REPEATED, MAX_INSIDE))
        inside = common > most * np.minimum(area, area[place])
        free &= ~(same | inside)
        weights = scores[same][:, None]
        probabilities = (classes[same] * weights).sum(0) / weights.sum()
        glyphs.append(Glyph(tuple(boxes[place].tolist()), float(scores[place]), probabilities))
    return glyphs


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    across, down = (min(one[side + 2], other[side + 2]) - max(one[side], other[side]) for side in (0, 1))
    common = max(0.0, across) * max(0.0, down)
    areas = sum(float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other))
    return float(common / (areas - common)) if areas > common else 0.0
