"""Cut a glyph out of a page where its box is known: its own foreground, without its neighbours' and the paper's."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from digit_recognizer.preprocessing import binarization
from digit_recognizer.preprocessing.components import Component, connected_components, merge
from digit_recognizer.preprocessing.sorted_values import percentile, threshold_otsu

MARGIN = 0.15  # of the box's longest side, around it: strokes that end a little outside
SURROUNDINGS = 0.35  # of the same, for what the paper around is like
MIN_INSIDE = 0.5  # of a component, within the box; else it is a neighbour's or a line's
MIN_AREA = 0.04  # of the largest component; smaller ones are dirt

FloatBox = Sequence[float]  # left, top, right, bottom in pixels


class Cut(NamedTuple):
    """A glyph and its surroundings. strength: float32 (height, width), 0 background to 1; component: its strokes in it.

    top, left: offset in the page, in pixels. dark_on_light: the polarity.
    """

    strength: np.ndarray
    component: Component
    top: int
    left: int
    dark_on_light: bool


def cut_glyph(grey: np.ndarray, box: FloatBox, others: Sequence[FloatBox]) -> Cut | None:
    """Cut out the strokes in a box. Returns None where nothing stands out in it.

    grey: float32 (height, width), of the page. others: boxes of the glyphs around, to which pixels nearer to them
    belong.
    """
    left, top, right, bottom = box
    longest = max(right - left, bottom - top)
    rows, columns = (
        slice(max(0, int(start - SURROUNDINGS * longest)), int(end + SURROUNDINGS * longest) + 1)
        for start, end in ((top, bottom), (left, right))
    )
    crop = grey[rows, columns]
    if min(crop.shape) < 3:
        return None
    dark = binarization.is_dark_on_light(crop)
    strength = binarization.correct_illumination(crop if dark else 1 - crop)
    y = np.arange(rows.start, rows.start + crop.shape[0])[:, None] + 0.5
    x = np.arange(columns.start, columns.start + crop.shape[1])[None] + 0.5
    own = _distance(box, x, y)
    near = own <= 1 + 2 * MARGIN
    for other in others:
        if other[0] < right + MARGIN * longest and other[2] > left - MARGIN * longest:
            near &= own <= _distance(other, x, y)
    if not near.any():
        return None
    mask = (strength > threshold_otsu(np.sort(strength[near]))) & near
    core = own <= 1.06
    parts = [part for part in connected_components(mask) if core[part.slice][part.image].mean() >= MIN_INSIDE]
    if not parts:
        return None
    largest = max(part.area for part in parts)
    glyph = merge([part for part in parts if part.area >= MIN_AREA * largest])
    contrast = max(float(percentile(np.sort(strength[mask]), 90)), 1e-6)
    return Cut(np.clip(strength / contrast, 0, 1), glyph, rows.start, columns.start, dark)


def _distance(box: FloatBox, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of each pixel from a box's middle, in halves of its sides: 1 on its edge. Narrow boxes reach a little further."""
    left, top, right, bottom = box
    least = 0.3 * max(right - left, bottom - top)
    return np.maximum(
        np.abs(x - (left + right) / 2) / (max(right - left, least) / 2),
        np.abs(y - (top + bottom) / 2) / (max(bottom - top, least) / 2),
    )
