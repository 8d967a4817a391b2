"""Connected components of the foreground: drop dirt and shadows, group those of one digit."""

import functools
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from skimage import measure

from digit_recognizer.preprocessing.binarization import Foreground

Box = tuple[int, int, int, int]  # top, left, bottom, right
MIN_AREA = 0.012  # of the largest component; smaller ones are dirt
MIN_EXTENT = 0.025  # of the picture's longest side; what is smaller in both directions is dirt
MIN_PIXELS = 4  # in the longer direction; fewer show nothing
MIN_LARGE_SHARE = 0.3  # of the foreground, in components above MIN_EXTENT; below it all is noise
MAX_GAP = 0.25  # of the digit's size, between a digit and a smaller component that belongs to it
MIN_FADING_LENGTH = 0.8  # of a side, along which fading light runs
MIN_BORDER_STRENGTH = 0.5  # of the largest inner component's strength; a fainter one at the border is a shadow
MAX_SHADOWS = 50  # components at the border; more are neither border nor shadow


@dataclass(frozen=True, eq=False)
class Component:
    """A connected component, or several of one digit. image: bool, the foreground within bbox; area: in pixels."""

    bbox: Box
    image: np.ndarray
    area: int

    @property
    def slice(self) -> tuple[slice, slice]:
        """The box as an index."""
        top, left, bottom, right = self.bbox
        return slice(top, bottom), slice(left, right)

    def shifted(self, rows: int, columns: int) -> "Component":
        """The same so many pixels further down and to the right."""
        top, left, bottom, right = self.bbox
        return replace(self, bbox=(top + rows, left + columns, bottom + rows, right + columns))

    def mask(self, shape: tuple[int, ...]) -> np.ndarray:
        """As bool of the shape of the foreground."""
        mask = np.zeros(shape, bool)
        mask[self.slice] = self.image
        return mask


def label_components(foreground: Foreground) -> list[Component]:
    """Return the connected components, the largest first, without dirt, borders and shadows; [] on a blank picture."""
    shape = foreground.mask.shape
    components = sorted(connected_components(foreground.mask), key=lambda component: -component.area)
    min_extent = max(MIN_PIXELS, MIN_EXTENT * max(shape))
    components = [component for component in components if not _is_fading_light(component, shape)]
    large = [component for component in components if max(component.image.shape) >= min_extent]
    inner = [component for component in large if not _touches_border(component, shape)]
    if inner and len(large) - len(inner) <= MAX_SHADOWS:
        shadows = _shadows(set(large) - set(inner), inner[0], foreground)
        components, large = ([each for each in some if each not in shadows] for some in (components, large))
    if not large or sum(each.area for each in large) < MIN_LARGE_SHARE * sum(each.area for each in components):
        return []
    return [component for component in large if component.area >= MIN_AREA * large[0].area]


def connected_components(mask: np.ndarray) -> list[Component]:
    """Return the 8-connected components of a mask, bool (height, width)."""
    if not mask.any():
        return []
    labels = measure.label(mask, connectivity=2)
    areas = np.bincount(labels[mask]).tolist()
    components = []
    for label, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        bbox = (rows.start, columns.start, rows.stop, columns.stop)
        components.append(Component(bbox, labels[rows, columns] == label, areas[label]))
    return components


def _touches_border(component: Component, shape: tuple[int, ...]) -> bool:
    top, left, bottom, right = component.bbox
    return top == 0 or left == 0 or bottom == shape[0] or right == shape[1]


def _is_fading_light(component: Component, shape: tuple[int, ...]) -> bool:
    """Whether a component lies along one whole side of the picture without reaching the opposite one."""
    top, left, bottom, right = component.bbox
    for at_start, at_end, image, length in (
        (top == 0, bottom == shape[0], component.image, shape[1]),
        (left == 0, right == shape[1], component.image.T, shape[0]),
    ):
        if at_start != at_end and image[0 if at_start else -1].sum() > MIN_FADING_LENGTH * length:
            return True
    return False


def _shadows(at_border: set[Component], largest: Component, foreground: Foreground) -> set[Component]:
    """Those components at the border that are faint, strips, or small or far broader beside the largest inner one."""
    min_strength = MIN_BORDER_STRENGTH * _mean_strength(largest, foreground)
    min_area, max_width = 0.08 * largest.area, 1.8 * stroke_width(largest)
    return {
        component
        for component in at_border
        if _mean_strength(component, foreground) < min_strength
        or _is_strip(component, foreground.mask.shape)
        or component.area < min_area
        or stroke_width(component) > max_width
    }


def _is_strip(component: Component, shape: tuple[int, ...]) -> bool:
    height, width = component.image.shape
    return (height < 0.08 * shape[0] and width > 3 * height) or (width < 0.08 * shape[1] and height > 3 * width)


def _mean_strength(component: Component, foreground: Foreground) -> float:
    return float(foreground.strength[component.slice][component.image].mean())


def stroke_width(component: Component) -> float:
    """Return the mean width of the strokes in pixels: 4 times the mean distance of their pixels from the edge."""
    return 4 * float(ndimage.distance_transform_edt(np.pad(component.image, 1))[1:-1, 1:-1][component.image].mean())


def group_digit(components: list[Component]) -> tuple[list[Component], list[Component]]:
    """Split components into those of one digit, the largest and what is near it, and the others.

    components: the largest first.
    """
    group, others = [components[0]], []
    box = components[0].bbox
    for component in components[1:]:
        max_gap = MAX_GAP * max(box[2] - box[0], box[3] - box[1])
        distance = gap(box, component.bbox)
        if distance <= max_gap and (component.area >= 0.05 * components[0].area or distance <= max_gap / 3):
            group.append(component)
            box = union(box, component.bbox)
        else:
            others.append(component)
    return group, others


def has_second_digit(largest: Component, others: list[Component]) -> bool:
    """Return whether one of the others is so large that it must be another digit."""
    min_height, min_area = 0.6 * largest.image.shape[0], 0.3 * largest.area
    return any(other.area > min_area and other.image.shape[0] > min_height for other in others)


def merge(components: list[Component]) -> Component:
    """Return components of one digit as one."""
    box = functools.reduce(union, (component.bbox for component in components))
    image = np.zeros((box[2] - box[0], box[3] - box[1]), bool)
    for component in components:
        top, left, bottom, right = component.bbox
        image[top - box[0] : bottom - box[0], left - box[1] : right - box[1]] |= component.image
    return Component(box, image, sum(component.area for component in components))


def gap(first: Box, second: Box) -> int:
    """Return the pixels between two boxes, the greater of across and down; negative where they overlap."""
    return max(first[0] - second[2], second[0] - first[2], first[1] - second[3], second[1] - first[3])


def union(first: Box, second: Box) -> Box:
    """Return the smallest box that holds both."""
    top, left = map(min, first[:2], second[:2])
    bottom, right = map(max, first[2:], second[2:])
    return top, left, bottom, right
