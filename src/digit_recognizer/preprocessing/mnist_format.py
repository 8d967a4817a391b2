"""From a picture to 28x28 pixels as MNIST was made; and from a row of digits to each of them."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from digit_recognizer.preprocessing import binarization, components, image_io, segmentation
from digit_recognizer.runtime.errors import UserError

FINE = 160  # pixels on the longest side at which strokes are measured and changed
THINNEST, THICKEST = 2.2, 3.6  # strokes of MNIST, in pixels of its 20
TOLD = 0.7  # of these pixels, by which strokes are changed without a word
_NOTHING = np.zeros((28, 28), np.uint8)


class Intake(NamedTuple):
    """What was made of a picture, step by step.

    picture: as it was read; found: its ink; strokes: bool, the shapes that make up the digit, in found's pixels.
    digit: uint8 (28, 28), ink bright, as MNIST has it; all zeros where there is no digit, and reason then says why.
    warnings: what was done or noticed, in plain words.
    """

    picture: image_io.Picture
    found: binarization.Ink
    strokes: np.ndarray
    digit: np.ndarray
    reason: str | None
    warnings: tuple[str, ...]


def to_mnist(source: Any) -> Intake:
    """Any picture of one digit to what MNIST would have made of it. source: see pictures.read, which may raise."""
    picture = image_io.read(source)
    found = binarization.find(picture.grey)
    parts = components.find(found)
    if not parts:
        return Intake(picture, found, np.zeros_like(found.mask), _NOTHING, "blank", picture.warnings)
    kept, others = components.of_one_digit(parts)
    reason, warnings = None, []
    if components.as_large(kept[0], others):
        reason = "several digits"
    elif others:
        warnings.append("two separate shapes, the larger was read" if len(others) == 1 else
                        f"{1 + len(others)} separate shapes, the largest was read")  # fmt: skip
    strokes = components.mask_of(kept, found.mask.shape)
    if is_mnist(picture.grey):
        return Intake(picture, found, strokes, (picture.grey * 255 + 0.5).astype(np.uint8), reason, picture.warnings)
    return _taken_in(picture, found, strokes, reason, tuple(warnings))


class Piece(NamedTuple):
    """One digit of a picture of several. box: left, top, right, bottom in the picture's own pixels; row: from 0."""

    intake: Intake
    box: tuple[int, int, int, int]
    row: int


def split_digits(source: Any) -> list[Piece]:
    """The digits of a row, or of rows, in reading order. source: see pictures.read, which may raise."""
    picture = image_io.read(source)
    found = binarization.find(picture.grey)
    pieces = []
    for number, row in enumerate(segmentation.find(components.find(found), found.mask.shape)):
        for strokes in row:
            down, across = np.flatnonzero(strokes.any(1)), np.flatnonzero(strokes.any(0))
            left, right = (round((place + found.left) * picture.scale) for place in (across[0], across[-1] + 1))
            top, bottom = (round((place + found.top) * picture.scale) for place in (down[0], down[-1] + 1))
            pieces.append(Piece(_taken_in(picture, found, strokes, None, ()), (left, top, right, bottom), number))
    return pieces


def _taken_in(
    picture: image_io.Picture,
    found: binarization.Ink,
    strokes: np.ndarray,
    reason: str | None,
    warnings: tuple[str, ...],
) -> Intake:
    digit, changed = drawn(found.strength, strokes)
    noticed = [*picture.warnings, *(["dark on light, inverted"] if found.inverted else []), *warnings]
    return Intake(picture, found, strokes, digit, reason, (*noticed, *([changed] if changed else [])))


def is_mnist(grey: np.ndarray) -> bool:
    """Whether a picture is already as MNIST has its digits: 28x28, bright on black, 20 long, in the middle."""
    if grey.shape != (28, 28) or max(*grey[[0, 1, -2, -1]].ravel(), *grey[:, [0, 1, -2, -1]].ravel()) > 0.02:
        return False
    rows, columns = np.flatnonzero(grey.any(1)), np.flatnonzero(grey.any(0))
    if not len(rows) or max(np.ptp(rows), np.ptp(columns)) + 1 not in (19, 20):
        return False
    return bool(np.abs(np.subtract(ndimage.center_of_mass(grey), 13.75)).max() < 1.0)


def drawn(strength: np.ndarray, strokes: np.ndarray) -> tuple[np.ndarray, str | None]:
    """A digit as MNIST would have drawn it: uint8 (28, 28), and what was done to its strokes, if anything.

    strength: float (height, width), 0 paper to 1 ink; strokes: bool, which of it belongs to the digit.
    """
    rows, columns = np.flatnonzero(strokes.any(1)), np.flatnonzero(strokes.any(0))
    margin = 2
    padded = np.pad(np.where(ndimage.binary_dilation(strokes, iterations=2), strength, 0), margin)
    part = padded[rows[0] : rows[-1] + 1 + 2 * margin, columns[0] : columns[-1] + 1 + 2 * margin]
    scale = FINE / max(np.ptp(rows) + 1, np.ptp(columns) + 1)
    height, width = (max(1, round(side * scale)) for side in part.shape)
    fine = np.asarray(Image.fromarray(part.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
    mask = _trimmed(fine >= 0.5 * min(1, fine.max()))  # of a few pixels most would be margin
    distance = signed_distance(np.pad(mask, FINE // 8))  # room to grow thicker
    weight = 4 * distance[distance > 0].mean() * 20 / FINE  # a strip's mean distance is a quarter of its width
    wanted = float(np.clip(weight, THINNEST, THICKEST))
    changed = None
    if abs(wanted - weight) > TOLD:
        changed = "very thin strokes thickened" if wanted > weight else "very broad strokes thinned"
    redrawn = np.clip(distance + (wanted - weight) / 2 * FINE / 20 + 0.5, 0, 1)
    digit = as_mnist(redrawn)
    return np.clip(digit * (255 / digit.max()), 0, 255).astype(np.uint8), changed


def _trimmed(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance to the edge of each pixel's centre, in pixels, positive within the mask."""
    return (ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)).astype(np.float32) + np.where(
        mask, -0.5, 0.5
    ).astype(np.float32)


def as_mnist(scan: np.ndarray) -> np.ndarray:
    """A clean scan to 28x28 the way MNIST was made: longest side 20, aspect kept, centre of mass at pixel (14, 14).

    scan: float (height, width), 0 paper to 1 ink; UserError where there is none. Returns uint8 (28, 28), ink bright.
    """
    if not scan.any():
        raise UserError("there is no ink in this picture")
    rows, columns = np.flatnonzero(scan.any(1)), np.flatnonzero(scan.any(0))
    scan = scan[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 20 / max(scan.shape)
    height, width = (max(1, round(side * scale)) for side in scan.shape)
    digit = np.asarray(Image.fromarray(np.uint8(scan * 255 + 0.5)).resize((width, height), Image.Resampling.BICUBIC))
    top, left = (
        int(np.clip(round(14 - (profile @ np.arange(len(profile))) / profile.sum()), 0, 28 - len(profile)))
        for profile in (digit.sum(1, dtype=float), digit.sum(0, dtype=float))
    )
    canvas = np.zeros((28, 28), np.uint8)
    canvas[top : top + height, left : left + width] = digit
    return canvas
