"""Find glyphs in a picture with PageNet: a pyramid of resolutions, peaks of the maps, suppression of repetitions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from digit_recognizer.page_reader.network import MULTIPLE, STRIDE, Maps, PageNet

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
MAX_OVERLAP = 0.45  # intersection over union of two glyphs


@dataclass(frozen=True)
class Glyph:
    """box: left, top, right, bottom in the picture's pixels. score: 0 to 1, that there is a glyph.

    probabilities: float32 (CLASSES,), of the ten digits and of a glyph that is none.
    """

    box: tuple[float, float, float, float]
    score: float
    probabilities: np.ndarray


def find_glyphs(model: PageNet, grey: np.ndarray, size: float | None = None) -> list[Glyph]:
    """All glyphs of a picture, the surest first. grey: float32 (height, width), 0 black to 1 white.

    size: of the glyphs in pixels where it is known, which saves time; else a pyramid of all resolutions is searched.
    """
    image = torch.from_numpy(np.ascontiguousarray(grey))[None, None]
    height, width = grey.shape
    found = [_of_level(model, image, scale) for scale in _scales(height, width, size)]
    boxes, scores, classes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return _suppress(boxes, scores, classes)


@torch.inference_mode()
def find_centres(model: PageNet, grey: np.ndarray) -> np.ndarray:
    """How probable it is that a glyph's centre is at each pixel: float32 (height, width), the highest of all levels."""
    image = torch.from_numpy(np.ascontiguousarray(grey))[None, None]
    centres = torch.zeros_like(image)
    height, width = grey.shape
    for scale in _scales(height, width, None):
        scaled = _scale(image, scale)
        centre = F.interpolate(_maps(model, scaled).centre.sigmoid(), scale_factor=STRIDE, mode="bilinear")
        centre = centre[..., : scaled.shape[2], : scaled.shape[3]]
        centres = torch.maximum(centres, F.interpolate(centre, size=(height, width), mode="bilinear"))
    return centres[0, 0].numpy()


def _scales(height: int, width: int, size: float | None) -> list[float]:
    """Of the levels of the pyramid, each half of the one before. Small pictures are enlarged."""
    enlarged = min(2.0, math.sqrt(MAX_PIXELS / (height * width)))
    largest = enlarged if enlarged > 1.4 else 1.0
    if size is not None:
        first = min(largest, BEST_SIZE / size)
        return [first, first / 2]
    count = max(1, math.floor(math.log2(largest * max(height, width) / MIN_SIDE)) + 1)
    return [largest / 2**level for level in range(count)]


@torch.inference_mode()
def _of_level(model: PageNet, image: Tensor, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4) in the picture's pixels, scores (n,) and class probabilities (n, CLASSES) of one level."""
    scaled = _scale(image, scale)
    height, width = scaled.shape[2:]
    maps = _maps(model, scaled)
    centre = maps.centre.sigmoid()
    peaks = centre * (F.max_pool2d(centre, 3, 1, 1) == centre)
    scores, places = peaks.flatten().topk(min(MAX_PEAKS, peaks.numel()))
    scores, places = scores[scores > MIN_SCORE], places[scores > MIN_SCORE]
    columns = places % centre.shape[3]
    rows = places.div(centre.shape[3], rounding_mode="floor")
    offset, size = (maps_[0, :, rows, columns] for maps_ in (maps.offset, maps.size))
    middle = (torch.stack([columns, rows]) + 0.5 + offset) * STRIDE
    half = size.exp() * STRIDE / 2
    boxes = torch.cat([middle - half, middle + half])
    boxes[0::2] = boxes[0::2].clamp(0, width)
    boxes[1::2] = boxes[1::2].clamp(0, height)
    sides = boxes[2:] - boxes[:2]
    kept = (sides.amax(0) >= MIN_SIZE) & (sides.amax(0) <= MAX_SIZE) & (sides.amin(0) >= MIN_WIDTH)
    ratio = torch.tensor([image.shape[3] / width, image.shape[2] / height] * 2)[:, None]
    classes = maps.classes[0, :, rows, columns].softmax(0)
    return (boxes * ratio)[:, kept].T.numpy(), scores[kept].numpy(), classes[:, kept].T.numpy()


def _scale(image: Tensor, scale: float) -> Tensor:
    size = [max(1, round(side * scale)) for side in image.shape[2:]]
    return F.interpolate(image, size=size, mode="bilinear", antialias=True, align_corners=False)


def _maps(model: PageNet, image: Tensor) -> Maps:
    """Of a picture whose right and lower edge are repeated until PageNet takes it."""
    height, width = image.shape[2:]
    return model(F.pad(image, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate"))


def _suppress(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> list[Glyph]:
    """One glyph for all findings of it; their class probabilities are averaged, weighted by their scores.

    Findings of a part of a glyph, such as the loop of a 9, or of several together, are dropped.
    """
    order = np.argsort(-scores)
    boxes, scores, classes = boxes[order], scores[order], classes[order]
    sides = boxes[:, 2:] - boxes[:, :2]
    area, longest = sides.prod(1), sides.max(1)
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
        inside = common > np.where(differ, MAX_PART_INSIDE, MAX_INSIDE) * np.minimum(area, area[place])
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
