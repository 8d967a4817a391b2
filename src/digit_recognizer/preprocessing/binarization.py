"""What is ink in a picture: the frame peeled off, uneven light divided out, lines of the paper taken away.

Everywhere grey is float32 (height, width) from 0, black, to 1, white.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import filters

FRAME = 0.12  # of a side, at most, is looked at for a false edge
JUMP = 0.1  # of grey, at least, from a false edge to what it encloses
SMALL = 128  # pixels on the longest side of the copies on which light is measured
REACH = 0.3  # of the longest side: what is broader is light or shadow, not a stroke
FAINTEST = 0.06  # of the paper's brightness: fainter marks are no ink
NOISES = 5  # deviations of the paper's own noise by which ink stands out at least
LINE = 0.8  # of a side, at least, that a line of ruled paper runs across
COVERED = 0.55  # of its length, at least, that is to be seen of it between the strokes
STEEPEST = 0.1  # pixels that such a line may fall or rise in each pixel across
LOOSE = 1  # pixels by which it may leave its course


class Ink(NamedTuple):
    """Ink of a picture. strength: float32 (height, width), 0 paper to 1 ink; mask: bool, what surely belongs to it.

    top, left: where this lies in the picture. inverted: whether the paper is bright, other than in MNIST.
    """

    strength: np.ndarray
    mask: np.ndarray
    top: int
    left: int
    inverted: bool


def find(grey: np.ndarray) -> Ink:
    """The ink of a picture; none of mask is set where there is none."""
    (top, bottom), (left, right) = (_without_frame(values) for values in (grey, grey.T))
    grey = grey[top:bottom, left:right]
    dark = dark_on_light(grey)
    strength = flattened(grey if dark else 1 - grey)
    middle = _otsu(strength)
    paper = strength[strength <= middle]
    level = float(np.median(paper))
    noise = 1.4826 * float(np.median(np.abs(paper - level)))
    # Lowered where ink is sparse, for its few pixels do not move Otsu's.
    sparse = max(level + NOISES * noise, 0.25 * float(np.percentile(strength, 99.8)))
    threshold = max(FAINTEST, min(middle, sparse))
    mask = filters.apply_hysteresis_threshold(strength, 0.6 * threshold, threshold)
    mask = _without_lines(mask, strength)
    contrast = float(np.percentile(strength[mask], 90)) if mask.any() else 0.0
    return Ink(np.clip(strength / max(contrast, 1e-6), 0, 1), mask, top, left, dark)


def _without_frame(grey: np.ndarray) -> tuple[int, int]:
    """First row, and row after the last, of what false edges above and below leave."""
    depth = int(FRAME * len(grey))
    ends = []
    for rows in (grey, grey[::-1]):
        rows = rows[: 2 * depth + 3, :: max(1, grey.shape[1] // 200)]  # enough of each row
        levels = np.median(rows, axis=1)
        uneven = np.subtract(*np.percentile(rows, (95, 5), axis=1)) >= JUMP
        of_frame = ~uneven & (np.abs(levels - levels[0]) < JUMP)
        deep = int(np.argmin(of_frame)) if not of_frame.all() else 0  # so many rows look like the outermost
        within = levels[deep + 2 :]
        is_frame = 0 < deep <= depth and len(within) > 0 and abs(np.median(within) - levels[0]) > JUMP
        ends.append(deep + 2 if is_frame else 0)  # a soft edge takes a row or two
    return ends[0], len(grey) - ends[1]


def dark_on_light(grey: np.ndarray) -> bool:
    """Whether the ink is darker than the paper: from the rim where it is of one kind, else from what would be ink."""
    small = _small(grey)
    bright = small > _otsu(small)
    rim = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]])
    if not 0.1 < rim.mean() < 0.9:
        return bool(rim.mean() > 0.5)
    dark, light = (strength > _otsu(strength) for strength in map(flattened, (small, 1 - small)))
    votes = np.clip(np.log2((light.mean() + 0.01) / (dark.mean() + 0.01)), -2, 2)  # ink is the sparse side
    corners = np.array([[0, 0, -1, -1], [0, -1, 0, -1]])  # which few digits reach
    votes += light[tuple(corners)].mean() - dark[tuple(corners)].mean()
    return bool(votes + 0.3 > 0)


def flattened(grey: np.ndarray) -> np.ndarray:
    """How much darker than the paper around it each place is: float32, 0 paper to 1 black. Dark ink on light paper.

    A shadow makes paper and ink darker by the same factor, so the paper's brightness is divided by, not subtracted.
    """
    small = _small(grey)
    reach = max(3, int(REACH * max(small.shape)) | 1)
    paper = ndimage.grey_closing(ndimage.median_filter(small, 3, mode="nearest"), reach, mode="nearest")
    paper = ndimage.gaussian_filter(paper, 1.5, mode="nearest")
    paper = np.asarray(Image.fromarray(paper).resize(grey.shape[::-1], Image.Resampling.BILINEAR))
    return np.clip(1 - grey / np.maximum(paper, 0.05), 0, 1).astype(np.float32)


def _small(grey: np.ndarray) -> np.ndarray:
    """A copy of at most SMALL pixels on the longest side."""
    factor = max(grey.shape) / SMALL
    if factor <= 1:
        return grey
    height, width = (max(1, round(side / factor)) for side in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))


def _otsu(values: np.ndarray) -> float:
    """Otsu's threshold; the value itself where all are alike."""
    return float(filters.threshold_otsu(values)) if np.ptp(values) > 1e-3 else float(values.max())


def _without_lines(mask: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """The mask without thin lines that run across the whole picture, as ruled and squared paper has them.

    Where a line meets a stroke, the ink is thicker across it, or darker, and stays. A single line, such as a long 1,
    stays, too.
    """
    kept = mask & ~_level_lines(mask, strength) & ~_level_lines(mask.T, strength.T).T
    if kept.sum() < 0.03 * mask.sum():
        extents = sorted(np.ptp(places) for places in mask.nonzero())
        return mask if extents[0] < 0.5 * extents[1] else kept
    return kept


def _level_lines(mask: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Those pixels that belong to thin lines, level or nearly so, from one side to the other."""
    height, width = mask.shape
    lines = np.zeros_like(mask)
    if min(height, width) < 40:
        return lines
    thickness = _run_lengths(mask)
    thin = mask & (thickness <= max(3, height // 40))
    above = np.zeros_like(mask)
    above[1:] = thin[:-1]
    down, across = np.nonzero(thin & ~above)  # the upper edge, once in each column
    if not len(down):
        return lines
    reach = LOOSE + max(3, height // 40)
    for slope, start in _straight(down, across, width):
        middle = start + slope * (np.arange(width) - width / 2)
        band = slice(max(0, int(middle.min()) - reach), int(middle.max()) + reach + 2)
        near = np.abs(np.arange(height)[band, None] - middle) <= reach
        of_line = near & thin[band]
        # What most columns of it are like, and not the strokes that it meets.
        values = thickness[band], strength[band]
        usual, dark = (np.percentile((each * of_line).max(0), 40) for each in values)
        lines[band] |= of_line & (values[0] <= 1.5 * usual + 1) & (values[1] <= 1.4 * dark)
    return lines


def _straight(down: np.ndarray, across: np.ndarray, width: int) -> list[tuple[float, float]]:
    """Lines through many of these places, all of one slope: it, in pixels per pixel, and the height in the middle."""
    best = (0, 0.0, np.zeros(0, int), 0)
    for slope in np.linspace(-STEEPEST, STEEPEST, 41):
        places = np.round(down - slope * (across - width / 2)).astype(int)
        least = places.min()
        votes = np.bincount(places - least)
        sharpness = int((votes**2).sum())  # the sheet's own slope gathers each line in few places
        if sharpness > best[0]:
            best = (sharpness, slope, votes, least)
    _, slope, votes, least = best
    votes = np.convolve(votes, np.ones(2 * LOOSE + 1, int), mode="same")
    found = []
    while len(votes) and votes.max() >= COVERED * width:
        place = int(votes.argmax())
        columns = across[np.abs(down - slope * (across - width / 2) - least - place) <= LOOSE + 0.5]
        if np.ptp(columns) >= LINE * width:
            found.append((float(slope), float(least + place)))
        votes[max(0, place - 2 * LOOSE - 1) : place + 2 * LOOSE + 2] = 0
    return found


def _run_lengths(mask: np.ndarray) -> np.ndarray:
    """How many pixels of ink each pixel of ink has above and below it without a gap, itself included; else 0."""
    return (_since_a_gap(mask) + _since_a_gap(mask[::-1])[::-1] - 1) * mask


def _since_a_gap(mask: np.ndarray) -> np.ndarray:
    """How many pixels of ink there are from each pixel upwards without a gap, itself included."""
    inked = np.cumsum(mask, axis=0, dtype=np.int32)
    return inked - np.maximum.accumulate(np.where(mask, 0, inked), axis=0)
