"""From a picture to 28x28 pixels as MNIST was made; and from a row of digits to each of them."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage import measure

from digit_recognizer import ink, pictures, reading_order
from digit_recognizer.errors import UserError

SPECK = 0.012  # of the largest shape's ink: less is dirt
NEAR = 0.25  # of the digit's size, within which a smaller shape belongs to it
FINE = 160  # pixels on the longest side at which strokes are measured and changed
THINNEST, THICKEST = 2.2, 3.6  # strokes of MNIST, in pixels of its 20
SMALLEST = 0.025  # of the picture's longest side: what is less in both directions is dirt
LEAST_SHARE = 0.3  # of all ink, that shapes larger than this make up where there is anything but noise
_NOTHING = np.zeros((28, 28), np.uint8)


class Intake(NamedTuple):
    """What was made of a picture, step by step.

    picture: as it was read; found: its ink; strokes: bool, the shapes that make up the digit, in found's pixels.
    digit: uint8 (28, 28), ink bright, as MNIST has it; all zeros where there is no digit, and reason then says why.
    warnings: what was done or noticed, in plain words.
    """

    picture: pictures.Picture
    found: ink.Ink
    strokes: np.ndarray
    digit: np.ndarray
    reason: str | None
    warnings: tuple[str, ...]


def to_mnist(source: Any) -> Intake:
    """Any picture of one digit to what MNIST would have made of it. source: see pictures.read, which may raise."""
    picture = pictures.read(source)
    found = ink.find(picture.grey)
    parts = shapes(found)
    if not parts:
        return Intake(picture, found, np.zeros_like(found.mask), _NOTHING, "blank", picture.warnings)
    kept, others = main_shapes(parts)
    reason, warnings = None, []
    if any(part.area > 0.3 * kept[0].area and _height(part) > 0.6 * _height(kept[0]) for part in others):
        reason = "several digits"
    elif others:
        warnings.append("two separate shapes, the larger was read" if len(others) == 1 else
                        f"{1 + len(others)} separate shapes, the largest was read")  # fmt: skip
    strokes = _mask_of(kept, found.mask.shape)
    if is_mnist(picture.grey):
        return Intake(picture, found, strokes, np.uint8(picture.grey * 255 + 0.5), reason, picture.warnings)
    return _taken_in(picture, found, strokes, reason, tuple(warnings))


class Piece(NamedTuple):
    """One digit of a picture of several. box: left, top, right, bottom in the picture's own pixels; row: from 0."""

    intake: Intake
    box: tuple[int, int, int, int]
    row: int


def split_digits(source: Any) -> list[Piece]:
    """The digits of a row, or of rows, in reading order. source: see pictures.read, which may raise."""
    picture = pictures.read(source)
    found = ink.find(picture.grey)
    pieces = []
    for number, row in enumerate(reading_order.split(found.mask, shapes(found))):
        for strokes in row:
            down, across = np.flatnonzero(strokes.any(1)), np.flatnonzero(strokes.any(0))
            box = [across[0] + found.left, down[0] + found.top, across[-1] + 1 + found.left, down[-1] + 1 + found.top]
            box = tuple(round(float(place) * picture.scale) for place in box)
            pieces.append(Piece(_taken_in(picture, found, strokes, None, ()), box, number))
    return pieces


def _taken_in(
    picture: pictures.Picture, found: ink.Ink, strokes: np.ndarray, reason: str | None, warnings: tuple[str, ...]
) -> Intake:
    digit, changed = drawn(found.strength, strokes)
    noticed = [*picture.warnings, *(["dark on light, inverted"] if found.inverted else []), *warnings]
    return Intake(picture, found, strokes, digit, reason, (*noticed, *([changed] if changed else [])))


def _mask_of(parts: list, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for part in parts:
        mask[part.slice] |= part.image
    return mask


def _height(part) -> int:
    return part.bbox[2] - part.bbox[0]


def is_mnist(grey: np.ndarray) -> bool:
    """Whether a picture is already as MNIST has its digits: 28x28, bright on black, 20 long, in the middle."""
    if grey.shape != (28, 28) or max(*grey[[0, 1, -2, -1]].ravel(), *grey[:, [0, 1, -2, -1]].ravel()) > 0.02:
        return False
    rows, columns = np.flatnonzero(grey.any(1)), np.flatnonzero(grey.any(0))
    if not len(rows) or max(np.ptp(rows), np.ptp(columns)) + 1 not in (19, 20):
        return False
    return bool(np.abs(np.subtract(ndimage.center_of_mass(grey), 13.75)).max() < 1.0)


def shapes(found: ink.Ink) -> list:
    """The connected shapes of ink as scikit-image's regions, the largest first; none where nothing stands out.

    Without dirt, and without what belongs to a frame or a shadow at the rim.
    """
    parts = sorted(measure.regionprops(measure.label(found.mask, connectivity=2)), key=lambda part: -part.area)
    least = max(4, SMALLEST * max(found.mask.shape))
    large = [part for part in parts if max(part.image.shape) >= least]
    inside = [part for part in large if not _at_rim(part, found.mask.shape)]
    if inside:
        shades = [part for part in large if part not in inside and _is_shade(part, found.mask.shape, inside[0])]
        parts, large = ([part for part in some if part not in shades] for some in (parts, large))
    if not large or sum(part.area for part in large) < LEAST_SHARE * sum(part.area for part in parts):
        return []
    return [part for part in large if part.area >= SPECK * large[0].area]


def _at_rim(part, size: tuple[int, int]) -> bool:
    top, left, bottom, right = part.bbox
    return top == 0 or left == 0 or bottom == size[0] or right == size[1]


def _is_shade(part, size: tuple[int, int], main) -> bool:
    """Whether a shape at the rim is thin and long beside it, small, or far broader than the strokes inside."""
    height, width = part.image.shape
    thin = (height < 0.08 * size[0] and width > 3 * height) or (width < 0.08 * size[1] and height > 3 * width)
    return thin or part.area < 0.08 * main.area or _breadth(part) > 1.8 * _breadth(main)


def _breadth(part) -> float:
    """Of a shape's strokes, in pixels: a strip's mean distance from its edge is a quarter of it."""
    return 4 * float(ndimage.distance_transform_edt(np.pad(part.image, 1))[1:-1, 1:-1][part.image].mean())


def main_shapes(parts: list) -> tuple[list, list]:
    """The shapes of one digit, the largest and what is near it; and the others. parts: as shapes returns them."""
    kept, others = [parts[0]], []
    box = parts[0].bbox
    for part in parts[1:]:
        reach = NEAR * max(box[2] - box[0], box[3] - box[1])
        gap = reading_order.gap(box, part.bbox)
        if gap <= reach and (part.area >= 0.05 * parts[0].area or gap <= reach / 3):
            kept.append(part)
            box = reading_order.around(box, part.bbox)
        else:
            others.append(part)
    return kept, others


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
    distance = signed_distance(np.pad(fine >= 0.5 * min(1, fine.max()), FINE // 8))  # room to grow thicker
    weight = 4 * distance[distance > 0].mean() * 20 / FINE  # a strip's mean distance is a quarter of its width
    wanted = float(np.clip(weight, THINNEST, THICKEST))
    changed = None
    if abs(wanted - weight) > 0.05:
        changed = "very thin strokes thickened" if wanted > weight else "very broad strokes thinned"
    drawn = np.clip(distance + (wanted - weight) / 2 * FINE / 20 + 0.5, 0, 1)
    digit = as_mnist(drawn)
    return np.uint8(np.clip(digit * (255 / digit.max()), 0, 255)), changed


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Distance to the edge of each pixel's centre, in pixels, positive within the mask."""
    return (ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)).astype(np.float32) + np.where(
        mask, -0.5, 0.5
    ).astype(np.float32)


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
