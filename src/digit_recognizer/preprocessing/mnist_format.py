"""Draw a digit as MNIST's were made: 28x28 pixels, 20 long, strokes of usual width, centre of mass in the middle."""

import numpy as np
from PIL import Image
from scipy import ndimage

from digit_recognizer.preprocessing.distance import distance_to_background
from digit_recognizer.runtime.errors import UserError

STROKE_SIDE = 160  # pixels on the longest side, at which strokes are measured and redrawn
MIN_STROKE_WIDTH, MAX_STROKE_WIDTH = 2.2, 3.6  # of MNIST's digits, in pixels of its 20
MAX_SILENT_CHANGE = 0.7  # of the stroke width, in the same pixels; a larger one is a warning


def normalize_strokes(strength: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Draw a digit with strokes of MNIST's width.

    strength: float (height, width), 0 background to 1 foreground; mask: bool, the foreground of the digit.
    Returns uint8 (28, 28) and what was done to the strokes, None for little.
    """
    margin = 2  # pixels around the mask, in which the edges of the strokes fade
    box = bounding_box(mask)
    scale = STROKE_SIDE / max(mask[box].shape)
    mask = np.pad(mask[box], margin)
    strength = np.pad(strength, margin)[tuple(slice(side.start, side.stop + 2 * margin) for side in box)]
    digit = np.where(ndimage.binary_dilation(mask, iterations=margin), strength, 0)
    height, width = (max(1, round(side * scale)) for side in digit.shape)
    large = np.asarray(Image.fromarray(digit.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
    strokes = large >= 0.5 * min(1, large.max())
    strokes = strokes[bounding_box(strokes)]  # a digit of a few pixels would be mostly margin
    distance = distance_to_edge(np.pad(strokes, 1))
    stroke_width = 4 * distance[distance > 0].mean() * 20 / STROKE_SIDE  # a strip's mean distance is a quarter of it
    new_width = float(np.clip(stroke_width, MIN_STROKE_WIDTH, MAX_STROKE_WIDTH))
    change = None
    if abs(new_width - stroke_width) > MAX_SILENT_CHANGE:
        change = "very thin strokes thickened" if new_width > stroke_width else "very broad strokes thinned"
    growth = (new_width - stroke_width) / 2 * STROKE_SIDE / 20  # of each edge; negative where strokes get thinner
    if growth > 0:
        room = int(growth) + 2  # what is farther from the strokes stays background
        outside = distance_to_edge(~np.pad(strokes, room), room)
        distance = np.where(outside > 0, -outside, np.pad(distance, room - 1))
    image = as_mnist(np.clip(distance + growth + 0.5, 0, 1))
    return np.clip(image * (255 / image.max()), 0, 255).astype(np.uint8), change


def bounding_box(image: np.ndarray) -> tuple[slice, slice]:
    """Return the smallest box, as an index, that holds all pixels that are not 0; there must be some."""
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def distance_to_edge(mask: np.ndarray, most: int | None = None) -> np.ndarray:
    """Return the distance of each pixel's centre from the mask's edge: float32, in pixels; -0.5 outside.

    most: see distance_to_background.
    """
    return distance_to_background(mask, most).astype(np.float32) - np.float32(0.5)


def as_mnist(scan: np.ndarray) -> np.ndarray:
    """Fit a clean scan into MNIST's frame: longest side 20, aspect kept, centre of mass at pixel (14, 14).

    scan: float (height, width), 0 background to 1 foreground. Returns uint8 (28, 28), foreground bright. Raises
    UserError where the scan is empty.
    """
    if not scan.any():
        raise UserError("the scan is empty: no pixel is above 0; pass the foreground bright")
    scan = scan[bounding_box(scan)]
    scale = 20 / max(scan.shape)
    height, width = (max(1, round(side * scale)) for side in scan.shape)
    digit = np.asarray(Image.fromarray(np.uint8(scan * 255 + 0.5)).resize((width, height), Image.Resampling.BICUBIC))
    top, left = (
        int(np.clip(round(14 - (profile @ np.arange(len(profile))) / profile.sum()), 0, 28 - len(profile)))
        for profile in (digit.sum(1, dtype=float), digit.sum(0, dtype=float))
    )
    image = np.zeros((28, 28), np.uint8)
    image[top : top + height, left : left + width] = digit
    return image


def is_mnist(grey: np.ndarray) -> bool:
    """Return whether a picture already has MNIST's format: 28x28, light on dark, 20 long, centred.

    grey: float32 (height, width), 0 black to 1 white.
    """
    if grey.shape != (28, 28) or max(*grey[[0, 1, -2, -1]].ravel(), *grey[:, [0, 1, -2, -1]].ravel()) > 0.02:
        return False
    if not grey.any() or max(grey[bounding_box(grey)].shape) not in (19, 20):
        return False
    return bool(np.abs(np.subtract(ndimage.center_of_mass(grey), 13.75)).max() < 1.0)
