"""Find the foreground of a picture: borders cropped, uneven illumination divided out, ruled lines removed.

Grey values are float32 (height, width), 0 black to 1 white.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from digit_recognizer.preprocessing.image_io import downscale
from digit_recognizer.preprocessing.sorted_values import percentile, threshold_otsu

MAX_BORDER = 0.12  # of a side, searched for a border
MIN_BORDER_STEP = 0.1  # of grey, between a border and what it encloses
SMALL_SIDE = 128  # pixels on the longest side of the copies on which illumination is measured
CLOSING_SIZE = 0.3  # of the longest side: anything broader is light or shadow, not a stroke
MIN_CONTRAST = 0.06  # of the background's brightness; fainter marks are background
MIN_NOISE_RATIO = 5  # standard deviations of the background's noise by which the foreground stands out
MIN_LINE_EXTENT = 0.8  # of a side, from one end of a ruled line to the other
MIN_LINE_COVERAGE = 0.55  # of a side, that is visible of a ruled line between the strokes
MAX_LINE_SLOPE = 0.1  # pixels down per pixel across
LINE_TOLERANCE = 1  # pixels by which a ruled line may leave its course


class Foreground(NamedTuple):
    """What stands out in a picture. strength: float32 (height, width), 0 background to 1; mask: bool, the foreground.

    top, left: offset in the picture, in pixels. dark_on_light: the polarity; MNIST's is light on dark.
    """

    strength: np.ndarray
    mask: np.ndarray
    top: int
    left: int
    dark_on_light: bool


def binarize(grey: np.ndarray) -> Foreground:
    """Separate foreground from background by Otsu's threshold with hysteresis. A blank picture has an empty mask."""
    (top, bottom), (left, right) = (_crop_border(rows) for rows in (grey, grey.T))
    grey = grey[top:bottom, left:right]
    dark_on_light = is_dark_on_light(grey)
    strength = correct_illumination(grey if dark_on_light else 1 - grey)
    ordered = np.sort(strength, axis=None)
    otsu = threshold_otsu(ordered)
    background = ordered[: np.searchsorted(ordered, np.float32(otsu), "right")]
    level = float(percentile(background, 50))
    noise = 1.4826 * float(percentile(np.sort(np.abs(background - level)), 50))  # a robust standard deviation
    # Lower where the foreground is sparse: its few pixels hardly move Otsu's threshold.
    sparse = max(level + MIN_NOISE_RATIO * noise, 0.25 * float(percentile(ordered, 99.8)))
    threshold = max(MIN_CONTRAST, min(otsu, sparse))
    mask = _connected_to(strength > threshold, strength > 0.6 * threshold)
    mask = _remove_ruled_lines(mask, strength)
    contrast = float(percentile(np.sort(strength[mask]), 90)) if mask.any() else 0.0
    return Foreground(np.clip(strength / max(contrast, 1e-6), 0, 1), mask, top, left, dark_on_light)


def _crop_border(grey: np.ndarray) -> tuple[int, int]:
    """First and last row, exclusive, within uniform borders at top and bottom."""
    depth = int(MAX_BORDER * len(grey))
    cropped = []
    for rows in (grey, grey[::-1]):
        rows = rows[: 2 * depth + 3, :: max(1, grey.shape[1] // 200)]  # 200 columns are enough
        ordered = np.sort(rows, axis=1)
        levels = percentile(ordered, 50)
        uneven = percentile(ordered, 95) - percentile(ordered, 5) >= MIN_BORDER_STEP
        like_first = ~uneven & (np.abs(levels - levels[0]) < MIN_BORDER_STEP)
        width = int(np.argmin(like_first)) if not like_first.all() else 0
        inside = levels[width + 2 :]
        is_border = 0 < width <= depth and len(inside) > 0 and abs(np.median(inside) - levels[0]) > MIN_BORDER_STEP
        cropped.append(width + 2 if is_border else 0)  # a soft edge takes a row or two
    return cropped[0], len(grey) - cropped[1]


def is_dark_on_light(grey: np.ndarray) -> bool:
    """Return the polarity: from the rim of the picture where it is uniform, else from the two possible foregrounds."""
    small = _small(grey)
    bright = small > _otsu(small)
    rim = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]])
    if not 0.1 < rim.mean() < 0.9:
        return bool(rim.mean() > 0.5)
    strengths = map(correct_illumination, (small, 1 - small))
    dark, light = (strength > _otsu(strength) for strength in strengths)
    votes = np.clip(np.log2((light.mean() + 0.01) / (dark.mean() + 0.01)), -2, 2)  # the foreground is sparse
    corners = np.array([[0, 0, -1, -1], [0, -1, 0, -1]])  # which few digits reach
    votes += light[tuple(corners)].mean() - dark[tuple(corners)].mean()
    return bool(votes + 0.3 > 0)


def correct_illumination(grey: np.ndarray) -> np.ndarray:
    """Return how much darker each pixel is than the background around it: float32, 0 background to 1 black.

    grey: dark on light. It is divided by the background's brightness, not subtracted from it: a shadow darkens paper
    and ink by the same factor.
    """
    small = _small(grey)
    size = max(3, int(CLOSING_SIZE * max(small.shape)) | 1)
    background = ndimage.grey_closing(_median(small), size, mode="nearest")
    background = ndimage.gaussian_filter(background, 1.5, mode="nearest")
    background = np.asarray(Image.fromarray(background).resize(grey.shape[::-1], Image.Resampling.BILINEAR))
    return np.clip(1 - grey / np.maximum(background, 0.05), 0, 1).astype(np.float32)


def _median(values: np.ndarray) -> np.ndarray:
    """The median of each pixel and its eight neighbours: scipy.ndimage.median_filter's, 20 times as fast.

    It is the median of three: the largest of the least of each column, the median of their medians, and the least of
    the largest.
    """
    padded = np.pad(values, 1, mode="edge")
    columns = _sort(padded[:-2], padded[1:-1], padded[2:])
    ranked = [_sort(each[:, :-2], each[:, 1:-1], each[:, 2:]) for each in columns]
    return _sort(ranked[0][2], ranked[1][1], ranked[2][0])[1]


def _sort(one: np.ndarray, two: np.ndarray, three: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The least, the middle and the largest of three, element by element."""
    least, largest = np.minimum(one, two), np.maximum(one, two)
    middle = np.maximum(least, np.minimum(largest, three))
    return np.minimum(least, three), middle, np.maximum(largest, three)


def _connected_to(seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The 4-connected components of a mask that hold a seed, all of which are in the mask."""
    labels, count = ndimage.label(mask)
    holds_seed = np.zeros(count + 1, bool)
    holds_seed[labels[seeds]] = True
    return np.take(holds_seed, labels)


def _otsu(values: np.ndarray) -> float:
    return threshold_otsu(np.sort(values, axis=None))


def _small(grey: np.ndarray) -> np.ndarray:
    return np.asarray(downscale(Image.fromarray(grey), SMALL_SIDE))


def _remove_ruled_lines(mask: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Return the mask without thin lines across the whole picture, those of ruled and squared paper.

    Where a line meets a stroke, the foreground is thicker or darker and is kept. So is a single line, perhaps a long 1.
    """
    kept = mask & ~_horizontal_lines(mask, strength) & ~_horizontal_lines(mask.T, strength.T).T
    if np.count_nonzero(kept) < 0.03 * np.count_nonzero(mask):
        extents = sorted(np.ptp(indices) for indices in mask.nonzero())
        return mask if extents[0] < 0.5 * extents[1] else kept
    return kept


def _horizontal_lines(mask: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Mask of the thin, nearly horizontal lines that run from side to side."""
    height, width = mask.shape
    lines = np.zeros_like(mask)
    if min(height, width) < 40:
        return lines
    thickness = _vertical_runs(mask)
    thin = mask & (thickness <= max(3, height // 40))
    upper_edges = np.concatenate([thin[:1], thin[1:] & ~thin[:-1]])
    rows, columns = np.divmod(np.flatnonzero(upper_edges), width)  # ten times as fast as nonzero
    if not len(rows):
        return lines
    reach = LINE_TOLERANCE + max(3, height // 40)
    for slope, centre in _fit_lines(rows, columns, width):
        course = centre + slope * (np.arange(width) - width / 2)
        band = slice(max(0, int(course.min()) - reach), int(course.max()) + reach + 2)
        near = np.abs(np.arange(height)[band, None] - course) <= reach
        on_line = near & thin[band]
        # What most of its columns are like tells the line from the strokes that it meets.
        values = thickness[band], strength[band]
        usual_thickness, usual_strength = (percentile(np.sort((each * on_line).max(0)), 40) for each in values)
        lines[band] |= on_line & (values[0] <= 1.5 * usual_thickness + 1) & (values[1] <= 1.4 * usual_strength)
    return lines


def _fit_lines(rows: np.ndarray, columns: np.ndarray, width: int) -> list[tuple[float, float]]:
    """Find parallel lines through many of these pixels, as a Hough transform does.

    Returns for each the slope, in pixels per pixel, and the row at half the width.
    """
    best = (0, 0.0, np.zeros(0, int), 0)
    across = columns - width / 2
    for slope in np.linspace(-MAX_LINE_SLOPE, MAX_LINE_SLOPE, 41):
        intercepts = np.rint(rows - slope * across).astype(int)
        first = intercepts.min()
        votes = np.bincount(intercepts - first)
        sharpness = int(votes @ votes)  # at the true slope each line's votes fall into few bins
        if sharpness > best[0]:
            best = (sharpness, slope, votes, first)
    _, slope, votes, first = best
    votes = np.convolve(votes, np.ones(2 * LINE_TOLERANCE + 1, int), mode="same")
    lines = []
    while len(votes) and votes.max() >= MIN_LINE_COVERAGE * width:
        peak = int(votes.argmax())
        covered = columns[np.abs(rows - slope * across - first - peak) <= LINE_TOLERANCE + 0.5]
        if np.ptp(covered) >= MIN_LINE_EXTENT * width:
            lines.append((float(slope), float(first + peak)))
        votes[max(0, peak - 2 * LINE_TOLERANCE - 1) : peak + 2 * LINE_TOLERANCE + 2] = 0
    return lines


def _vertical_runs(mask: np.ndarray) -> np.ndarray:
    """Length of the vertical run of foreground that each pixel belongs to; 0 in the background."""
    padded = np.pad(mask.T, ((0, 0), (1, 1))).ravel()  # column after column; no run reaches into the next one
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    lengths = edges[1::2] - edges[::2]
    runs = np.zeros(mask.shape[::-1], lengths.dtype)
    runs[mask.T] = np.repeat(lengths, lengths)
    return runs.T
