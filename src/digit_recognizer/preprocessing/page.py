"""Analyze a picture once: decode it, find its foreground and components, then take one digit or all of them from it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from digit_recognizer.preprocessing import components, image_io, mnist_format, segmentation
from digit_recognizer.preprocessing.binarization import Foreground, binarize
from digit_recognizer.preprocessing.components import Component


class PreprocessedDigit(NamedTuple):
    """A digit of a page in MNIST's format.

    image: uint8 (28, 28), foreground bright; zeros on a blank page. component: its strokes, in the foreground's pixels.
    box: left, top, right, bottom in the original's pixels. row: of the page, from 0.
    reason: why it is not a digit, blank or several digits; else None. warnings: what was noticed or changed.
    """

    image: np.ndarray
    component: Component
    box: tuple[int, int, int, int]
    row: int
    reason: str | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Page:
    """A picture that was analyzed. image, grey, scale, warnings: see image_io.Picture.

    components: of the foreground, the largest first; empty on a blank page.
    """

    image: Image.Image
    grey: np.ndarray
    scale: float
    warnings: tuple[str, ...]
    foreground: Foreground
    components: list[Component]

    def digit(self) -> PreprocessedDigit:
        """Return the page as one digit: its largest component and those that belong to it."""
        if not self.components:
            nothing = Component((0, 0, 0, 0), np.zeros((0, 0), bool), 0)
            return PreprocessedDigit(np.zeros((28, 28), np.uint8), nothing, (0, 0, 0, 0), 0, "blank", self.warnings)
        group, others = components.group_digit(self.components)
        reason, warnings = None, []
        if components.has_second_digit(group[0], others):
            reason = "several digits"
        elif len(others) == 1:
            warnings.append("two separate shapes, the larger was read")
        elif others:
            warnings.append(f"{1 + len(others)} separate shapes, the largest was read")
        digit = components.merge(group)
        if mnist_format.is_mnist(self.grey):
            image = (self.grey * 255 + 0.5).astype(np.uint8)
            return PreprocessedDigit(image, digit, self._box(digit), 0, reason, self.warnings)
        return self._preprocess(digit, 0, reason, warnings)

    def digits(self) -> list[PreprocessedDigit]:
        """Return the digits of a row, or of rows, in reading order. Raises UserError where there are too many."""
        rows = segmentation.segment_digits(self.components)
        return [self._preprocess(digit, row, None, []) for row, digits in enumerate(rows) for digit in digits]

    def _preprocess(self, digit: Component, row: int, reason: str | None, warnings: list[str]) -> PreprocessedDigit:
        mask = digit.mask(self.foreground.mask.shape)
        image, change = mnist_format.normalize_strokes(self.foreground.strength, mask)
        inverted = ["dark on light, inverted"] if self.foreground.dark_on_light else []
        noticed = (*self.warnings, *inverted, *warnings, *([change] if change else []))
        return PreprocessedDigit(image, digit, self._box(digit), row, reason, noticed)

    def _box(self, digit: Component) -> tuple[int, int, int, int]:
        top, left, bottom, right = digit.shifted(self.foreground.top, self.foreground.left).bbox
        left, top, right, bottom = (round(side * self.scale) for side in (left, top, right, bottom))
        return left, top, right, bottom


def analyze(source: Any) -> Page:
    """Decode a picture and find its foreground and components. A Page is returned as it is.

    source: a path, bytes, an open file, a Pillow image, an array or a tensor. Raises UserError as image_io.read does.
    """
    if isinstance(source, Page):
        return source
    picture = image_io.read(source)
    foreground = binarize(picture.grey)
    return Page(*picture, foreground, components.label_components(foreground))
