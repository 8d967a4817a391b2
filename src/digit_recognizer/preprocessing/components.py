"""Connected shapes of ink: which of them are dirt or shadow, and which make up one digit."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage import measure

from digit_recognizer.preprocessing import binarization

Box = tuple[int, int, int, int]  # top, left, bottom, right
SPECK = 0.012  # of the largest shape's ink: less is dirt
NEAR = 0.25  # of the digit's size, within which a smaller shape belongs to it
FEWEST = 4  # pixels in the longer direction: what is less shows nothing
SMALLEST = 0.025  # of the picture's longest side: what is less in both directions is dirt
LEAST_SHARE = 0.3  # of all ink, that shapes larger than this make up where there is anything but noise
ALONG = 0.8  # of a side, that light which fades towards it reaches
FAINT = 0.5  # of the ink's strength in the largest shape: a shape at the rim with less is a shadow
MOST_SHADES = 50  # shapes at the rim; where there are more, they are no frame and no shadow


@dataclass(frozen=True, eq=False)
class Part:
    """A connected shape of ink. image: bool, all of its box; area: how many pixels of it are ink."""

    bbox: Box
    image: np.ndarray
    area: int

    @property
    def slice(self) -> tuple[slice, slice]:
        """Its box as an index."""
        top, left, bottom, right = self.bbox
        return slice(top, bottom), slice(left, right)


def find(found: binarization.Ink) -> list[Part]:
    """The connected shapes of ink, the largest first; none where nothing stands out.

    Without dirt, and without what belongs to a frame or a shadow at the rim.
    """
    parts = sorted(connected(found.mask), key=lambda part: -part.area)
    least = max(FEWEST, SMALLEST * max(found.mask.shape))
    parts = [part for part in parts if not _is_slope(part, found.mask.shape)]
    large = [part for part in parts if max(part.image.shape) >= least]
    inside = [part for part in large if not _at_rim(part, found.mask.shape)]
    if inside and len(large) - len(inside) <= MOST_SHADES:
        rim, breadth, faint = set(large) - set(inside), _breadth(inside[0]), FAINT * _strength(inside[0], found)
        shades = {
            part
            for part in rim
            if _strength(part, found) < faint or _is_shade(part, found.mask.shape, inside[0].area, breadth)
        }
        parts, large = ([part for part in some if part not in shades] for some in (parts, large))
    if not large or sum(part.area for part in large) < LEAST_SHARE * sum(part.area for part in parts):
        return []
    return [part for part in large if part.area >= SPECK * large[0].area]


def connected(mask: np.ndarray) -> list[Part]:
    """All shapes of a mask, bool (height, width), whose pixels meet at a side or a corner."""
    if not mask.any():
        return []
    labels = measure.label(mask, connectivity=2)
    areas = np.bincount(labels.ravel())
    return [
        Part((down.start, across.start, down.stop, across.stop), labels[down, across] == number, int(areas[number]))
        for number, (down, across) in enumerate(ndimage.find_objects(labels), start=1)
    ]


def _at_rim(part: Part, size: tuple[int, int]) -> bool:
    top, left, bottom, right = part.bbox
    return top == 0 or left == 0 or bottom == size[0] or right == size[1]


def _is_slope(part: Part, size: tuple[int, int]) -> bool:
    """Whether a shape lies along all of one side of the picture, and does not reach the opposite one: fading light."""
    top, left, bottom, right = part.bbox
    for before, after, shape, length in (
        (top == 0, bottom == size[0], part.image, size[1]),
        (left == 0, right == size[1], part.image.T, size[0]),
    ):
        if before != after and shape[0 if before else -1].sum() > ALONG * length:
            return True
    return False


def _is_shade(part: Part, size: tuple[int, int], area: int, breadth: float) -> bool:
    """Whether a shape at the rim is thin and long beside it, or small or far broader beside the largest one inside."""
    height, width = part.image.shape
    thin = (height < 0.08 * size[0] and width > 3 * height) or (width < 0.08 * size[1] and height > 3 * width)
    return thin or part.area < 0.08 * area or _breadth(part) > 1.8 * breadth


def _strength(part: Part, found: binarization.Ink) -> float:
    """How dark a shape is on the average, 0 paper to 1 ink."""
    return float(found.strength[part.slice][part.image].mean())


def _breadth(part: Part) -> float:
    """Of a shape's strokes, in pixels: a strip's mean distance from its edge is a quarter of it."""
    return 4 * float(ndimage.distance_transform_edt(np.pad(part.image, 1))[1:-1, 1:-1][part.image].mean())


def of_one_digit(parts: list[Part]) -> tuple[list[Part], list[Part]]:
    """The shapes of one digit, the largest and what is near it; and the others. parts: as find returns them."""
    kept, others = [parts[0]], []
    box = parts[0].bbox
    for part in parts[1:]:
        reach = NEAR * max(box[2] - box[0], box[3] - box[1])
        away = gap(box, part.bbox)
        if away <= reach and (part.area >= 0.05 * parts[0].area or away <= reach / 3):
            kept.append(part)
            box = around(box, part.bbox)
        else:
            others.append(part)
    return kept, others


def as_large(main: Part, others: list[Part]) -> bool:
    """Whether one of the others is so large beside the main shape that it must be another digit."""
    high, least = main.image.shape[0], 0.3 * main.area
    return any(part.area > least and part.image.shape[0] > 0.6 * high for part in others)


def mask_of(parts: list[Part], shape: tuple[int, int]) -> np.ndarray:
    """These shapes as bool of that shape."""
    mask = np.zeros(shape, bool)
    for part in parts:
        mask[part.slice] |= part.image
    return mask


def gap(first: Box, second: Box) -> int:
    """Pixels between two boxes, the greater of across and down; negative where they meet."""
    return max(first[0] - second[2], second[0] - first[2], first[1] - second[3], second[1] - first[3])


def around(first: Box, second: Box) -> Box:
    """The box around both."""
    top, left = map(min, first[:2], second[:2])
    bottom, right = map(max, first[2:], second[2:])
    return top, left, bottom, right
