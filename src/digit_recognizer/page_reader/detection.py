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
BEST_SIZE = 64  # pixels, longest side of a glyph in the level where it is seen best
MIN_SCORE = 0.1  # of a peak; what is fainter is nowhere looked at
MIN_READ_SCORE = 0.35  # of a glyph that is read
MAX_PEAKS = 1500  # of a level
IOMIN, IOMIN2 = 0.8, 0.5
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
    longest = 2 * half.amax(0)
    kept = (longest >= MIN_SIZE) & (longest <= MAX_SIZE)
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
    """One glyph for all findings of it; their class probabilities are averaged, weighted by their scores."""
    order = np.argsort(-scores)
    boxes, scores, classes = boxes[order], scores[order], classes[order]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    free = np.ones(len(boxes), bool)
    glyphs = []
    for place in range(len(boxes)):
        if not free[place]:
            continue
        across, down = (
            np.minimum(boxes[:, side + 2], boxes[place, side + 2]) - np.maximum(boxes[:, side], boxes[place, side])
            for side in (0, 1)
        )
        common = np.clip(across, 0, None) * np.clip(down, 0, None)
        smaller = np.minimum(area, area[place])
        longest = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        differ = np.maximum(longest / longest[place], longest[place] / longest) > 1.4
        same = free & (
            (common > MAX_OVERLAP * (area + area[place] - common))
            | (common > IOMIN * smaller)
            | (differ & (common > IOMIN2 * smaller))
        )
        same[place] = True
        free &= ~same
        # A part of a glyph that was taken before, such as the loop of a 9, or a whole whose parts were.
        weights = scores[same][:, None]
        glyphs.append(
            Glyph(tuple(boxes[place].tolist()), float(scores[place]), (classes[same] * weights).sum(0) / weights.sum())
        )
    return glyphs


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    across, down = (min(one[side + 2], other[side + 2]) - max(one[side], other[side]) for side in (0, 1))
    common = max(0.0, across) * max(0.0, down)
    areas = sum(float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other))
    return float(common / (areas - common)) if areas > common else 0.0
