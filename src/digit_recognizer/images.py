"""From a picture to 28x28 pixels as MNIST was made."""

import numpy as np
from PIL import Image

from digit_recognizer.errors import UserError


def as_mnist(ink: np.ndarray) -> np.ndarray:
    """A clean scan to 28x28 the way MNIST was made: longest side 20, aspect kept, centre of mass at pixel (14, 14).

    ink: float (height, width), 0 paper to 1 ink; UserError where there is none. Returns uint8 (28, 28), ink bright.
    """
    if not ink.any():
        raise UserError("there is no ink in this picture")
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 20 / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    digit = np.asarray(Image.fromarray(np.uint8(ink * 255 + 0.5)).resize((width, height), Image.Resampling.BICUBIC))
    top, left = (
        int(np.clip(round(14 - (profile @ np.arange(len(profile))) / profile.sum()), 0, 28 - len(profile)))
        for profile in (digit.sum(1, dtype=float), digit.sum(0, dtype=float))
    )
    canvas = np.zeros((28, 28), np.uint8)
    canvas[top : top + height, left : left + width] = digit
    return canvas
