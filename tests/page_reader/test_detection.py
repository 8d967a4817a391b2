"""Digits are found where they are, of any polarity and size; and none where there are none."""

import numpy as np
import pytest
from PIL import Image

from digit_recognizer.page_reader import detection, reader
from digit_recognizer.page_reader.detection import Glyph


@pytest.fixture(scope="module")
def sheet(mnist) -> tuple[np.ndarray, list[tuple[int, tuple[int, int, int, int]]]]:
    """Six test digits on white paper, 40 pixels high, and their boxes."""
    page, placed = np.zeros((200, 360), np.uint8), []
    for place, index in enumerate(range(6)):
        image = mnist.test.images[index].numpy()
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        digit = Image.fromarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
        digit = digit.resize((max(8, round(digit.width * 40 / digit.height)), 40), Image.Resampling.BICUBIC)
        left, top = 30 + 110 * (place % 3), 30 + 90 * (place // 3)
        page[top : top + 40, left : left + digit.width] = np.asarray(digit)
        placed.append((int(mnist.test.labels[index]), (left, top, left + digit.width, top + 40)))
    return 255 - page, placed


@pytest.mark.parametrize("change", ["as it is", "inverted", "twice as large", "in weak light"])
def test_digits_are_found_read_and_measured(change, sheet):
    page, placed = sheet
    grey, factor = page.astype(np.float32) / 255, 1
    if change == "inverted":
        grey = 1 - grey
    elif change == "twice as large":
        grey, factor = np.kron(grey, np.ones((2, 2), np.float32)), 2
    elif change == "in weak light":
        grey = 0.25 + 0.2 * grey
    found = [glyph for glyph in detection.find_glyphs(reader.pretrained().compute_maps, grey) if glyph.score > 0.35]
    assert len(found) == 6
    for digit, box in placed:
        (glyph,) = [each for each in found if detection.iou([factor * side for side in box], each.box) > 0.6]
        assert glyph.probabilities.argmax() == digit and glyph.probabilities.sum() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("shape", [(5, 5), (5, 300), (300, 5), (640, 640)])
def test_nothing_is_found_on_empty_pictures_of_any_shape(shape):
    for level in (0.0, 0.5, 1.0):
        glyphs = detection.find_glyphs(reader.pretrained().compute_maps, np.full(shape, level, np.float32))
        assert [glyph for glyph in glyphs if glyph.score > 0.35] == []


def test_a_known_size_saves_time_and_finds_the_same(sheet):
    grey = sheet[0].astype(np.float32) / 255
    assert len(detection._scales((480, 640), 200.0)) == 2 < len(detection._scales((480, 640), None))
    found = detection.find_glyphs(reader.pretrained().compute_maps, grey, 40.0)
    assert sum(glyph.score > 0.35 for glyph in found) == 6


def test_findings_of_one_glyph_become_one():
    boxes = np.array([(0, 0, 20, 40), (1, 1, 21, 41), (2, 2, 10, 18), (50, 0, 60, 40)], float)
    classes = np.eye(11)[[3, 3, 1, 1]] * 0.5 + 0.5 / 11
    glyphs = detection._suppress(boxes, np.array([0.9, 0.8, 0.3, 0.7]), classes)
    assert [glyph.box[0] for glyph in glyphs] == [0, 50]
    assert all(isinstance(glyph, Glyph) and glyph.probabilities.sum() == pytest.approx(1) for glyph in glyphs)


def test_intersection_over_union_of_worked_examples():
    assert detection.iou((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert detection.iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert detection.iou((0, 0, 2, 2), (3, 3, 4, 4)) == 0
