"""Put glyphs into rows as people write them, sloping or bent, and split rows into numbers at wide gaps."""

from collections.abc import Sequence

import numpy as np

MAX_SLOPE = 20  # degrees
NEAR = 5.0  # heights, between digits that may be neighbours in a row
MIN_GAP = 1.0  # heights, between two numbers of a row, and
MIN_GAP_RATIO = 2.2  # of the row's usual gap


def find_rows(boxes: np.ndarray) -> list[list[int]]:
    """Indices of the boxes by row, from above, in each from the left. boxes: (n, 4), left, top, right, bottom."""
    if not len(boxes):
        return []
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    heights = _heights(boxes)
    slope = np.tan(np.radians(find_slope(boxes)))
    level = y - slope * x  # of each box once the page is turned upright
    rows: list[list[int]] = []
    for index in np.argsort(x + slope * y, kind="stable").tolist():
        distances = [abs(level[index] - _expected(row, x, level, index)) for row in rows]
        if distances and min(distances) < 0.5 * max(
            heights[index], np.median(heights[rows[int(np.argmin(distances))]])
        ):
            rows[int(np.argmin(distances))].append(index)
        else:
            rows.append([index])
    return sorted(rows, key=lambda row: float(np.median(level[row])))


def _heights(boxes: np.ndarray) -> np.ndarray:
    """Of the digits: a sign such as a minus is as high as its width, at most as its neighbours."""
    heights = boxes[:, 3] - boxes[:, 1]
    return np.maximum(heights, 0.6 * np.median(heights))


def _expected(row: Sequence[int], x: np.ndarray, level: np.ndarray, index: int) -> float:
    """The level at which a row goes on: that of its last ones, with half of their trend."""
    last = list(row[-4:])
    if len(last) < 3 or np.ptp(x[last]) == 0:
        return float(level[last].mean())
    trend = np.polyfit(x[last], level[last], 1)[0]
    trend = float(np.clip(trend, -0.12, 0.12))
    return float(level[last].mean() + trend * (x[index] - x[last].mean()))


def find_slope(boxes: np.ndarray) -> float:
    """Degrees by which rows descend: where most neighbours are in line. Near ones count more, level rows a little."""
    if len(boxes) < 2:
        return 0.0
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    heights = _heights(boxes)
    first, second = np.triu_indices(len(x), 1)
    height = (heights[first] + heights[second]) / 2
    across, down = (values[second] - values[first] for values in (x, y))
    distance = np.hypot(across, down) / height
    near = distance < NEAR
    across, down, height, distance = across[near], down[near], height[near], distance[near]
    best, best_votes = 0.0, -1.0
    for angle in sorted(np.arange(-MAX_SLOPE, MAX_SLOPE + 1), key=abs):
        turn = np.radians(angle)
        off_line = (down * np.cos(turn) - across * np.sin(turn)) / height
        votes = float((np.exp(-((off_line / 0.22) ** 2)) / (0.5 + distance)).sum()) * (1 - 0.004 * abs(angle))
        if votes > best_votes * 1.0001:
            best, best_votes = float(angle), votes
    return best


def split_numbers(boxes: np.ndarray) -> list[list[int]]:
    """Indices of a row's boxes by number: the row is split at gaps that are wide, and wider than is usual in it."""
    if len(boxes) < 2:
        return [list(range(len(boxes)))]
    height = float(np.median(_heights(boxes)))
    gaps = boxes[1:, 0] - boxes[:-1, 2]
    usual = float(np.median(gaps)) if len(gaps) > 2 else float(gaps.min())
    limit = max(MIN_GAP * height, MIN_GAP_RATIO * usual)
    if len(gaps) == 1:
        limit = 1.5 * height
    numbers = [[0]]
    for place, gap in enumerate(gaps, start=1):
        if gap > limit:
            numbers.append([])
        numbers[-1].append(place)
    return numbers
