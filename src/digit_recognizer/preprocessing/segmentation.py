"""Segment rows of digits: which components stand in one row, which are one digit, where touching digits are split."""

import itertools

import numpy as np

from digit_recognizer.preprocessing.components import (
    MIN_PIXELS,
    Box,
    Component,
    connected_components,
    gap,
    merge,
    union,
)
from digit_recognizer.runtime.errors import UserError

MIN_DIGIT_EXTENT = 0.3  # of the row's height; what is smaller in both directions is not a digit
MIN_TOUCHING_WIDTH = 1.35  # of the height, from which on a component is several digits
MIN_PIECE_AREA = 0.1  # of the largest piece beside it, after a split; smaller ones are the neighbour's ends
MAX_DIGITS = 200  # in one picture; each takes a hundredth of a second


def segment_digits(components: list[Component]) -> list[list[Component]]:
    """Return the rows from above, in each its digits from the left.

    components: as label_components returns them. Raises UserError for more than MAX_DIGITS.
    """
    rows: list[list[Component]] = []
    _check_count(len(components))
    for boxes in _group_rows([component.bbox for component in components]):
        height = float(np.percentile([bottom - top for top, _, bottom, _ in boxes], 75))
        digits: list[Component] = []
        for box in sorted(merge_boxes(boxes, height), key=lambda box: box[1]):
            if max(box[2] - box[0], box[3] - box[1]) >= MIN_DIGIT_EXTENT * height:
                inside = [component for component in components if union(component.bbox, box) == box]
                digits += split_touching(merge(inside), height)
                _check_count(sum(map(len, rows)) + len(digits))
        if digits:
            rows.append(digits)
    return rows


def _check_count(count: int) -> None:
    if count > MAX_DIGITS:
        raise UserError(f"there are more than {MAX_DIGITS} shapes in this picture; show a part of it at a time")


def _group_rows(boxes: list[Box]) -> list[list[Box]]:
    """Group boxes that overlap vertically by half of the lower one; rows from above."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: box[0] - box[2]):  # the highest boxes start the rows
        for row in rows:
            top, bottom = np.median([other[0] for other in row]), np.median([other[2] for other in row])
            overlap = min(bottom, box[2]) - max(top, box[0])
            is_small = box[2] - box[0] < 0.3 * (bottom - top)
            if overlap > 0.5 * min(bottom - top, box[2] - box[0]) or (overlap > -0.15 * (bottom - top) and is_small):
                row.append(box)
                break
        else:
            rows.append([box])
    return sorted(rows, key=lambda row: np.median([box[0] + box[2] for box in row]))


def merge_boxes(boxes: list[Box], height: float) -> list[Box]:
    """Merge the boxes of a row that belong to one digit: above each other, or the ends of a broken stroke.

    height: of the row's digits, in pixels.
    """
    merged: list[Box] = []
    for box in sorted(boxes, key=lambda box: box[1]):
        if merged:
            last = merged[-1]
            overlap = min(last[3], box[3]) - max(last[1], box[1])
            narrower = min(last[3] - last[1], box[3] - box[1])
            both = union(last, box)
            is_small = min(last[2] - last[0], box[2] - box[0]) < 0.7 * height
            fits = both[3] - both[1] <= 1.1 * height
            if fits and (overlap > 0.5 * narrower or (is_small and gap(last, box) < 0.08 * height)):
                merged[-1] = both
                continue
        merged.append(box)
    return merged


def split_touching(component: Component, height: float) -> list[Component]:
    """Split digits that touch, in the columns with the least foreground; return a single digit as it is.

    height: of the row's digits, in pixels.
    """
    top, left, bottom, right = component.bbox
    width, height_here = right - left, max(height, bottom - top)
    if width <= MIN_TOUCHING_WIDTH * height_here or height_here < MIN_PIXELS:
        return [component]
    count = min(max(2, round(width / (0.75 * height))), MAX_DIGITS + 1)
    profile = component.image.sum(0)
    cuts = [left]
    for number in range(1, count):
        middle = left + number * width / count
        near = np.arange(int(middle - 0.25 * width / count), int(middle + 0.25 * width / count) + 1)
        cuts.append(int(near[np.argmin(profile[near - left])]))
    digits = []
    for start, end in itertools.pairwise([*cuts, right]):
        pieces = connected_components(component.image[:, start - left : end - left])
        if pieces:
            min_area = MIN_PIECE_AREA * max(piece.area for piece in pieces)
            piece = merge([piece for piece in pieces if piece.area >= min_area])
            digits.append(piece.shifted(top, start))
    return digits
