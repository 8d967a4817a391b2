"""Analyze a picture once: decode it, find its foreground and components, then take one digit or all of them from it."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from digit_recognizer.preprocessing import components, image_io, mnist_format, segmentation
from digit_recognizer.preprocessing.binarization import Foreground, binarize
from digit_recognizer.preprocessing.components import Box, Component

TURNS = {1: "the page was on its side and was turned", 2: "the page was upside down and was turned"}
TURNS[3] = TURNS[1]


class PreprocessedDigit(NamedTuple):
    """A digit of a page in MNIST's format.

    image: uint8 (28, 28), foreground bright; zeros where there is none. component: its strokes, in the page's pixels.
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
    """A picture that was analyzed. image, grey, scale, warnings, fine: see image_io.Picture.

    quarter_turns: by how many quarters the original was turned, counterclockwise.
    """

    image: Image.Image
    grey: np.ndarray
    scale: float
    warnings: tuple[str, ...]
    fine: Image.Image | None = None
    quarter_turns: int = 0

    @functools.cached_property
    def foreground(self) -> Foreground:
        """What stands out in the picture."""
        return binarize(self.grey)

    @functools.cached_property
    def components(self) -> list[Component]:
        """The components of the foreground, in its pixels, the largest first; none on a blank page."""
        return components.label_components(self.foreground)

    @property
    def mask(self) -> np.ndarray:
        """The foreground in the page's pixels: bool (height, width)."""
        mask, (rows, columns) = np.zeros(self.grey.shape, bool), self.foreground.mask.shape
        top, left = self.foreground.top, self.foreground.left
        mask[top : top + rows, left : left + columns] = self.foreground.mask
        return mask

    def enlarge(self) -> "Page | None":
        """The page with more pixels; None where the original has no more."""
        if self.fine is None:
            return None
        scale = self.scale * max(self.image.size) / max(self.fine.size)
        return replace(self, image=self.fine, grey=image_io.to_grey(self.fine), scale=scale, fine=None)

    def turn(self, quarters: int) -> "Page":
        """The page turned counterclockwise."""
        image = self.image.rotate(90 * quarters, expand=True)
        fine = self.fine and self.fine.rotate(90 * quarters, expand=True)
        grey = np.ascontiguousarray(np.rot90(self.grey, quarters))
        turns, warnings = (self.quarter_turns + quarters) % 4, (*self.warnings, TURNS[quarters])
        return replace(self, image=image, grey=grey, fine=fine, warnings=warnings, quarter_turns=turns)

    def upright(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """A box of the original's pixels in this page's: left, top, right, bottom. It undoes what _box does."""
        left, top, right, bottom = (side / self.scale for side in box)
        height, width = self.grey.shape[:: -1 if self.quarter_turns % 2 else 1]
        for _ in range(self.quarter_turns):  # each goes on by a quarter
            left, top, right, bottom = top, width - right, bottom, width - left
            height, width = width, height
        return left, top, right, bottom

    def digit(self) -> PreprocessedDigit:
        """Return the page as one digit: its largest component and those that belong to it."""
        if not self.components:
            return self._nothing("blank")
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
            placed = digit.shifted(self.foreground.top, self.foreground.left)
            return PreprocessedDigit(image, placed, self._box(placed.bbox), 0, reason, self.warnings)
        mask = digit.mask(self.foreground.mask.shape)
        offset = self.foreground.top, self.foreground.left
        dark = self.foreground.dark_on_light
        preprocessed = self._preprocess(self.foreground.strength, mask, digit, offset, dark, warnings)
        return preprocessed._replace(reason=reason)

    def cut(self, box: Sequence[float], others: Sequence[Sequence[float]], degrees: float = 0.0) -> PreprocessedDigit:
        """Return what is written in a box as one digit. Boxes: left, top, right, bottom in the page's pixels.

        others: boxes of its neighbours, whose strokes are left out. degrees: by which the image of the digit is turned,
        counterclockwise; component and box stay as they are on the page.
        """
        glyph = segmentation.cut_glyph(self.grey, box, others)
        if glyph is None:
            left, top, right, bottom = map(round, box)
            return self._nothing(None)._replace(box=self._box((top, left, bottom, right)))
        turned = segmentation.cut_glyph(*_turn(self.grey, box, others, degrees)) if degrees else None
        strokes = turned or glyph
        mask = strokes.component.mask(strokes.strength.shape)
        offset = glyph.top, glyph.left
        return self._preprocess(strokes.strength, mask, glyph.component, offset, glyph.dark_on_light, [])

    def _nothing(self, reason: str | None) -> PreprocessedDigit:
        nothing = Component((0, 0, 0, 0), np.zeros((0, 0), bool), 0)
        return PreprocessedDigit(np.zeros((28, 28), np.uint8), nothing, (0, 0, 0, 0), 0, reason, self.warnings)

    def _preprocess(
        self,
        strength: np.ndarray,
        mask: np.ndarray,
        component: Component,
        offset: tuple[int, int],
        dark_on_light: bool,
        warnings: list[str],
    ) -> PreprocessedDigit:
        """offset: of strength, mask and component in the page, rows and columns."""
        image, change = mnist_format.normalize_strokes(strength, mask)
        inverted = ["dark on light, inverted"] if dark_on_light else []
        noticed = (*self.warnings, *inverted, *warnings, *([change] if change else []))
        placed = component.shifted(*offset)
        return PreprocessedDigit(image, placed, self._box(placed.bbox), 0, None, noticed)

    def _box(self, bbox: Box) -> tuple[int, int, int, int]:
        """A box of the page's pixels in the original's: left, top, right, bottom."""
        top, left, bottom, right = bbox
        height, width = self.grey.shape
        for _ in range(self.quarter_turns):  # each takes back a quarter
            left, top, right, bottom = height - bottom, left, height - top, right
            height, width = width, height
        left, top, right, bottom = (round(side * self.scale) for side in (left, top, right, bottom))
        return left, top, right, bottom


def _turn(
    grey: np.ndarray, box: Sequence[float], others: Sequence[Sequence[float]], degrees: float
) -> tuple[np.ndarray, list[float], list[list[float]]]:
    """The surroundings of a box, turned about its middle, counterclockwise, and all boxes there, as large as before."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    reach = 1.5 * max(box[2] - box[0], box[3] - box[1])
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    crop = Image.fromarray(np.ascontiguousarray(grey[top : int(y + reach) + 1, left : int(x + reach) + 1]))
    paper = float(np.median(np.asarray(crop)))
    turned = crop.rotate(degrees, Image.Resampling.BICUBIC, center=(x - left, y - top), fillcolor=paper)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    boxes = []
    for each in (box, *others):
        across, down = (each[0] + each[2]) / 2 - x, (each[1] + each[3]) / 2 - y
        middle_x, middle_y = x - left + across * cos + down * sin, y - top - across * sin + down * cos
        wide, tall = (each[2] - each[0]) / 2, (each[3] - each[1]) / 2
        boxes.append([middle_x - wide, middle_y - tall, middle_x + wide, middle_y + tall])
    return np.asarray(turned), boxes[0], boxes[1:]


def analyze(source: Any) -> Page:
    """Decode a picture. A Page is returned as it is.

    source: a path, bytes, an open file, a Pillow image, an array or a tensor. Raises UserError as image_io.read does.
    """
    if isinstance(source, Page):
        return source
    return Page(*image_io.read(source))
