"""What is ink in a picture: the frame peeled off, uneven light divided out, lines of the paper taken away.

Everywhere grey is float32 (height, width) from 0, black, to 1, white.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import filters, measure

FRAME = 0.12  # of a side, at most, is looked at for a false edge
JUMP = 0.1  # of grey, at least, from a false edge to what it encloses
SMALL = 128  # pixels on the longest side of the copies on which light is measured
REACH = 0.3  # of the longest side: what is broader is light or shadow, not a stroke
FAINTEST = 0.06  # of the paper's brightness: fainter marks are no ink
NOISES = 5  # deviations of the paper's own noise by which ink stands out at least
LINE = 0.9  # of a side, at least, that a line of ruled paper runs across


class Ink(NamedTuple):
    """Ink of a picture. strength: float32 (height, width), 0 paper to 1 ink; mask: bool, what surely belongs to it.

    top, left: where this lies in the picture. inverted: whether the paper is bright, other than in MNIST.
    contrast: of the ink against the paper, 0 to 1; noise: of the paper by itself, in the same unit.
    """

    strength: np.ndarray
    mask: np.ndarray
    top: int
    left: int
    inverted: bool
    contrast: float
    noise: float


def find(grey: np.ndarray) -> Ink:
    """The ink of a picture; none of mask is set where there is none."""
    (top, bottom), (left, right) = (_without_frame(values) for values in (grey, grey.T))
    grey = grey[top:bottom, left:right]
    dark = dark_on_light(grey)
    strength = flattened(grey if dark else 1 - grey)
    paper = strength[strength <= np.median(strength)]
    noise = float(1.4826 * 2 * np.median(np.abs(paper - np.median(strength)))) if len(paper) else 0.0
    threshold = _threshold(strength, noise)
    mask = filters.apply_hysteresis_threshold(strength, 0.6 * threshold, threshold)
    mask = _without_lines(mask)
    contrast = float(np.percentile(strength[mask], 90)) if mask.any() else 0.0
    return Ink(np.clip(strength / max(contrast, 1e-6), 0, 1), mask, top, left, dark, contrast, noise)


def _without_frame(grey: np.ndarray) -> tuple[int, int]:
    """First row, and row after the last, of what false edges above and below leave."""
    depth = int(FRAME * len(grey))
    ends = []
    for rows in (grey, grey[::-1]):
        rows = rows[: 2 * depth + 3]
        levels = np.median(rows, axis=1)
        even = np.subtract(*np.percentile(rows, (95, 5), axis=1)) < JUMP
        even = int(np.argmin(even)) if not even.all() else len(even)  # so many rows from the rim are even
        cut = 0
        for row in range(min(depth, even)):
            beyond = levels[row + 1 : row + 4]  # a soft edge takes a row or two
            if len(beyond) and abs(beyond[-1] - levels[row]) > JUMP and abs(levels[row] - levels[0]) < JUMP:
                cut = row + 1 + len(beyond) - 1
        ends.append(cut)
    return ends[0], len(grey) - ends[1]


def dark_on_light(grey: np.ndarray) -> bool:
    """Whether the ink is darker than the paper: from the rim where it is of one kind, else from what looks like ink."""
    small = _small(grey)
    threshold = filters.threshold_otsu(small) if small.max() > small.min() else 0.5
    bright = small > threshold
    rim = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]])
    if not 0.1 < rim.mean() < 0.9:
        return bool(rim.mean() > 0.5)
    away = small - ndimage.median_filter(small, max(3, int(REACH * max(small.shape))), mode="nearest")
    spread = away.std()
    skew = float(np.mean(away**3) / spread**3) if spread > 0.01 else 0.0
    votes = np.clip(-skew, -2, 2)  # ink is the sparse side
    thickness = [ndimage.distance_transform_edt(side)[side].mean() if side.any() else 99 for side in (~bright, bright)]
    votes += np.clip(2 * np.log2(thickness[1] / thickness[0]), -2, 2)  # and the thin one
    return bool(votes + 0.5 > 0)


def flattened(grey: np.ndarray) -> np.ndarray:
    """How much darker than the paper around it each place is: float32, 0 paper to 1 black. Dark ink on light paper.

    A shadow makes paper and ink darker by the same factor, so the paper's brightness is divided by, not subtracted.
    """
    small = _small(grey)
    reach = max(3, int(REACH * max(small.shape)) | 1)
    paper = ndimage.grey_closing(ndimage.median_filter(small, 3, mode="nearest"), reach, mode="nearest")
    paper = ndimage.gaussian_filter(paper, reach / 6, mode="nearest")
    paper = np.asarray(Image.fromarray(paper).resize(grey.shape[::-1], Image.Resampling.BILINEAR))
    return np.clip(1 - grey / np.maximum(paper, 0.05), 0, 1).astype(np.float32)


def _small(grey: np.ndarray) -> np.ndarray:
    """A copy of at most SMALL pixels on the longest side."""
    factor = max(grey.shape) / SMALL
    if factor <= 1:
        return grey
    height, width = (max(1, round(side / factor)) for side in grey.shape)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))


def _threshold(strength: np.ndarray, noise: float) -> float:
    """From where on it is ink: Otsu's, lowered where ink is sparse, for its few pixels do not move Otsu's."""
    if strength.max() < FAINTEST:
        return 2.0
    otsu = float(filters.threshold_otsu(strength))
    sparse = float(np.median(strength)) + NOISES * noise
    return max(FAINTEST, min(otsu, max(sparse, 0.25 * float(np.percentile(strength, 99.8)))))


def _without_lines(mask: np.ndarray) -> np.ndarray:
    """The mask without lines that run across the whole picture, as ruled and squared paper has them.

    Where a stroke crosses a line it stays. A digit that is all line, such as a long 1, stays, too.
    """
    kept = mask
    for turned in (False, True):
        of = kept.T if turned else kept
        lines = _lines(of)
        if lines.any():
            thin = of & ~lines
            # What has ink right above and below the line is a stroke that crosses it.
            height = 2 * int(lines.sum(0).max()) + 3
            crossing = ndimage.binary_closing(np.pad(thin, height), np.ones((height, 1)))
            cleaned = thin | (lines & crossing[height:-height, height:-height])
            kept = cleaned.T if turned else cleaned
    return kept if kept.sum() > 0.15 * mask.sum() else mask


def _lines(mask: np.ndarray) -> np.ndarray:
    """Those pixels that belong to thin level lines from one side to the other."""
    height, width = mask.shape
    if min(height, width) < 40:
        return np.zeros_like(mask)
    runs = ndimage.binary_opening(mask, np.ones((1, max(9, width // 12))))
    thick = ndimage.binary_opening(runs, np.ones((max(3, height // 30), 1)))
    labels = measure.label(runs & ~thick, connectivity=2)
    found = [region.label for region in measure.regionprops(labels) if np.ptp(region.coords[:, 1]) >= LINE * width]
    return np.isin(labels, found) if found else np.zeros_like(mask)
