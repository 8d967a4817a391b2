"""How the digits of a page are marked: colour, text and place, also where the page was turned."""

import numpy as np
import pytest
from PIL import Image

from digit_recognizer.apps.web import page as web_page
from digit_recognizer.page_reader import detection, reader
from digit_recognizer.page_reader.detection import Glyph
from digit_recognizer.preprocessing.page import Page, analyze
from digit_recognizer.recognition import marks, plots
from digit_recognizer.recognition.prediction import Number, Prediction

BOXES = [(20, 10, 40, 40), (60, 14, 80, 44), (100, 18, 120, 48), (30, 80, 50, 110)]  # two rows; the first slopes
BLUE, YELLOW, RED = (0, 114, 178), (230, 159, 0), (213, 94, 0)  # as Okabe and Ito publish them


def prediction(page: Page, box: tuple, row: int, digit: int | None, *probabilities: float) -> Prediction:
    """probabilities: of the digits from 0 on; the others share what is left."""
    rest = (1 - sum(probabilities)) / (10 - len(probabilities))
    every = (*probabilities, *[rest] * (10 - len(probabilities)))
    reason = None if digit is not None else "not like a digit"
    return Prediction(digit, max(every), every, reason, page.cut(box, [])._replace(row=row))


@pytest.fixture
def number() -> Number:
    """A sure 0, a 0 or 1, a 0 that is not sure but nothing else, and below what is no digit."""
    sheet = np.full((120, 140), 255, np.uint8)
    for left, top, right, bottom in BOXES:
        sheet[top:bottom, left:right] = 0
        sheet[top + 6 : bottom - 6, left + 6 : right - 6] = 255
    page = analyze(sheet)
    digits = ((0, 0.95), (0, 0.8, 0.18), (0, 0.7), (None, 0.3))
    predictions = [prediction(page, box, box[1] // 60, *each) for box, each in zip(BOXES, digits, strict=True)]
    return Number(None, ("000", "?"), (("00", "0"), ("?",)), tuple(predictions), 0.5, page, ("1 shape was not read",))


def test_digits_are_marked_by_colour_and_without_it(number):
    found = marks.mark_digits(number)
    assert [(mark.text, mark.place) for mark in found] == [("0", ""), ("0?", "#2"), ("0?", "#3"), ("?", "#4")]
    assert [mark.colour for mark in found] == ["#0072B2", "#E69F00", "#E69F00", "#D55E00"]
    assert np.allclose([mark.box for mark in found], BOXES)
    assert number.weakest == 3 and number._replace(predictions=number.predictions[:3]).weakest == 2


def test_rows_are_named_and_underlined_as_they_slope(number):
    first, second = marks.mark_rows(number)
    assert (first.name, second.name) == ("row 1", "row 2")
    left, start, right, end = first.line
    assert (left, right) == (20, 120) and (end - start) / (right - left) == pytest.approx(4 / 40)
    assert 40 < start < 48 and 48 < end < 56  # below the digits
    assert second.line[1] == second.line[3] > 110
    alone = number._replace(rows=("000",), predictions=number.predictions[:3])
    assert [row.name for row in marks.mark_rows(alone)] == [""]


@pytest.mark.parametrize("quarters", range(4))
def test_marks_lie_on_the_upright_page_and_boxes_on_the_original(quarters):
    """A spot in a corner of a picture that is larger than a page, found on the page as it was turned."""
    original = np.full((800, 1280), 255, np.uint8)
    original[40:80, 100:120] = 0
    page = analyze(original)
    page = page.turn(quarters) if quarters else page
    (rows, columns) = (page.grey < 0.5).nonzero()
    spot = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    digit = page.cut(spot, [])
    assert digit.box == (100, 40, 120, 80)
    assert page.upright(digit.box) == pytest.approx(spot)


def colours(image: Image.Image) -> set:
    return {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}


def test_the_page_and_the_figure_draw_the_marks(number):
    drawn = web_page.draw_boxes(number)
    assert {BLUE, YELLOW, RED} <= colours(drawn) and drawn.width > drawn.height
    sure = number._replace(rows=("0",), predictions=number.predictions[:1])
    assert BLUE in colours(web_page.draw_boxes(sure)) and not {YELLOW, RED} & colours(web_page.draw_boxes(sure))
    figure = plots.number(number, "sheet.png")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["0", "", "0?", "#2", "0?", "#3", "?", "#4", "row 1", "row 2"]
    assert figure.axes[0].get_title() == "sheet.png: 00 0 / ?\n50.0% sure of all; 1 shape was not read"
    assert [text.get_text() for text in figure.legends[0].texts] == ["5  sure", "5?  doubtful", "?  not read"]
    empty = plots.number(Number("blank", (), (), (), 0.0, number.page), "empty.png")
    assert empty.axes[0].get_title() == "empty.png: no digit found"


def test_the_page_says_how_sure_it_is_of_all_and_of_the_least_sure_digit(number):
    assert web_page.describe_number(number) == "50.0% sure of all that was read; #4 was not read"
    read = number._replace(predictions=number.predictions[:2])
    assert web_page.describe_number(read) == "50.0% sure of all of it; least sure of #2: 0, 80.0%, or 1 (18.0%)"
    assert web_page.describe_number(number._replace(predictions=number.predictions[:1])) == "50.0% sure"


def test_the_heat_map_lies_over_the_picture_and_is_high_where_digits_are():
    sheet = np.full((130, 203), 1, np.float32)
    sheet[40:90, 140:148] = 0  # a 1
    centres = detection.find_centres(reader.pretrained().compute_maps, sheet)
    assert centres.shape == sheet.shape and centres.min() >= 0 and centres.max() <= 1
    row, column = np.unravel_index(centres.argmax(), centres.shape)
    assert abs(row - 65) < 12 and abs(column - 144) < 12
    (surest, *_) = detection.find_glyphs(reader.pretrained().compute_maps, sheet)
    assert centres.max() == pytest.approx(surest.score, abs=0.1)
    figure = plots.glyphs(analyze(sheet), centres, [Glyph((140, 40, 148, 90), 0.5, np.eye(11)[10])], "")
    assert figure.axes[1].texts[0].get_text() == "no digit  0.50"
