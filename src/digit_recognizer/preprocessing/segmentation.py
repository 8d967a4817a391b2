"""Rows of digits: which shapes stand in one row, which make up one digit, and where digits that touch are cut."""

import numpy as np

from digit_recognizer.preprocessing import components
from digit_recognizer.preprocessing.components import Box
from digit_recognizer.runtime.errors import UserError

DIRT = 0.3  # of a row's height: what is less in both directions is no digit
WIDE = 1.35  # widths of its height, from which on a shape is several digits that touch
MOST = 200  # digits of one picture, each of which takes a hundredth of a second


def find(parts: list[components.Part], shape: tuple[int, int]) -> list[list[np.ndarray]]:
    """Rows from above, in each the masks of its digits from the left: bool (height, width) of the whole picture.

    parts: as shapes.find returns them; shape: of the picture. Raises UserError for more than MOST digits.
    """
    found: list[list[np.ndarray]] = []
    _check_count(len(parts))
    for row in _rows([part.bbox for part in parts]):
        height = np.percentile([box[2] - box[0] for box in row], 75)
        boxes = [box for box in _joined(row, height) if max(box[2] - box[0], box[3] - box[1]) >= DIRT * height]
        digits = []
        for box in sorted(boxes, key=lambda box: box[1]):
            whole = components.mask_of([part for part in parts if components.around(part.bbox, box) == box], shape)
            digits += _cut(whole, box, height)
            _check_count(sum(map(len, found)) + len(digits))
        if digits:
            found.append(digits)
    return found


def _check_count(count: int) -> None:
    if count > MOST:
        raise UserError(f"there are more than {MOST} shapes in this picture; show a part of it at a time")


def _rows(boxes: list[Box]) -> list[list[Box]]:
    """Boxes that overlap in height by half of the lower one stand in one row; rows from above."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: box[0] - box[2]):  # the highest first: they make the rows
        for row in rows:
            top, bottom = np.median([other[0] for other in row]), np.median([other[2] for other in row])
            shared = min(bottom, box[2]) - max(top, box[0])
            if shared > 0.5 * min(bottom - top, box[2] - box[0]) or (shared > -0.15 * (bottom - top) and
                    box[2] - box[0] < 0.3 * (bottom - top)):  # fmt: skip
                row.append(box)
                break
        else:
            rows.append([box])
    return sorted(rows, key=lambda row: np.median([box[0] + box[2] for box in row]))


def _joined(boxes: list[Box], height: float) -> list[Box]:
    """Boxes of shapes that belong to one digit as one: above each other, or a broken stroke's ends."""
    joined: list[Box] = []
    for box in sorted(boxes, key=lambda box: box[1]):
        if joined:
            last = joined[-1]
            overlap = min(last[3], box[3]) - max(last[1], box[1])
            narrower = min(last[3] - last[1], box[3] - box[1])
            both = components.around(last, box)
            small = min(last[2] - last[0], box[2] - box[0]) < 0.7 * height
            fits = both[3] - both[1] <= 1.1 * height
            if fits and (overlap > 0.5 * narrower or (small and components.gap(last, box) < 0.08 * height)):
                joined[-1] = both
                continue
        joined.append(box)
    return joined


def _cut(whole: np.ndarray, box: Box, height: float) -> list[np.ndarray]:
    """Digits that touch, cut apart where there is least ink; one digit as it is."""
    top, left, bottom, right = box
    width = right - left
    if width <= WIDE * max(height, bottom - top) or max(height, bottom - top) < components.FEWEST:
        return [whole]
    count = min(max(2, round(width / (0.75 * height))), MOST + 1)
    inked = whole[top:bottom].sum(0)
    cuts = []
    for number in range(1, count):
        middle = left + number * width / count
        near = np.arange(int(middle - 0.25 * width / count), int(middle + 0.25 * width / count) + 1)
        cuts.append(int(near[np.argmin(inked[near])]))
    pieces = []
    for start, end in zip([left, *cuts], [*cuts, right], strict=True):
        parts = components.connected(whole[top:bottom, start:end])
        if parts:
            least = 0.1 * max(part.area for part in parts)  # no ends of the neighbour's strokes
            piece = np.zeros_like(whole)
            large = components.mask_of([part for part in parts if part.area >= least], (bottom - top, end - start))
            piece[top:bottom, start:end] = large
            pieces.append(piece)
    return pieces
