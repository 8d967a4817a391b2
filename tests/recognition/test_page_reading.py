"""Pages whose digits are known: sloping rows, touching digits, pages on their side, small digits, what is left out."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from benchmarks import reading
from digit_recognizer.data import pages
from digit_recognizer.page_reader import measurement
from digit_recognizer.page_reader.detection import Glyph
from digit_recognizer.preprocessing.page import analyze
from digit_recognizer.recognition import calibration, page_reading
from digit_recognizer.recognition.prediction import Prediction
from digit_recognizer.runtime.errors import UserError


@pytest.fixture(scope="module")
def write(mnist):
    """write(rows, height, size): rows of test digits on a white page of that size; a space leaves a wide gap."""
    first = {str(label): int((mnist.test.labels == label).nonzero()[0]) for label in range(10)}

    def page(rows: list[str], height: int = 48, size: tuple[int, int] = (640, 400)) -> Image.Image:
        sheet = np.full(size[::-1], 255, np.uint8)
        for number, row in enumerate(rows):
            left, top = 40, 40 + round(1.7 * height * number)
            for character in row:
                if character != " ":
                    digit = 255 - reading._resize(mnist.test.images[first[character]].numpy(), height) * 255
                    sheet[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
                    left += digit.shape[1]
                left += round(height * (1.7 if character == " " else 0.25))
        return Image.fromarray(sheet)

    return page


def turn(page: Image.Image, degrees: float) -> Image.Image:
    return page.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=255)


@pytest.mark.parametrize("degrees", [-15, -10, -5, 0, 5, 10, 15])
def test_rows_are_read_on_pages_that_are_askew(degrees, write, network):
    number = network.read_number(turn(write(["72104", "14959", "06901"]), degrees))
    assert number.rows == ("72104", "14959", "06901")
    assert number.page.quarter_turns == 0


def test_a_digit_is_turned_about_its_middle_and_stays_where_it_was(write):
    page = analyze(write(["72104"]))
    boxes = [component.bbox for component in page.components]
    top, left, bottom, right = boxes[0]
    box = (
        left + page.foreground.left,
        top + page.foreground.top,
        right + page.foreground.left,
        bottom + page.foreground.top,
    )
    upright, there = page.cut(box, []), analyze(turn(write(["72104"]), 0)).cut(box, [], 30)
    assert there.box == upright.box and there.component.bbox == upright.component.bbox
    assert np.abs(there.image.astype(int) - upright.image).mean() > 10  # turned by 30 degrees it is another image
    back = Image.fromarray(upright.image).rotate(30, Image.Resampling.BICUBIC)
    assert np.corrcoef(np.asarray(back).ravel(), there.image.ravel())[0, 1] > 0.8


@pytest.mark.parametrize(("quarters", "word"), [(1, "side"), (2, "upside down"), (3, "side")])
def test_a_page_that_lies_on_its_side_or_upside_down_is_turned_and_that_is_said(quarters, word, write, network):
    page = write(["721045", "34957", "23573"])
    number = network.read_number(page.rotate(90 * quarters, expand=True))
    assert number.rows == ("721045", "34957", "23573")
    assert any(word in warning for warning in number.warnings)
    (left, top, right, bottom), upright = number.boxes[0], network.read_number(page).boxes[0]
    corners = Image.new("1", page.size)
    ImageDraw.Draw(corners).rectangle(upright, fill=1)
    expected = corners.rotate(90 * quarters, expand=True).getbbox()
    assert np.abs(np.subtract((left, top, right, bottom), expected)).max() <= 4


def test_rows_are_split_into_numbers_at_wide_gaps(write, network):
    number = network.read_number(write(["72 104", "49 5"]))
    assert number.rows == ("72104", "495")
    assert number.numbers == (("72", "104"), ("49", "5")) and number.lines == ("72 104", "49 5")
    assert number.number == "72104495" and number.confidence > 0.8


def test_a_shadow_far_higher_than_the_digits_beside_it_is_no_1(write, network):
    page = write(["721049"], height=30)
    ImageDraw.Draw(page).rectangle((560, 20, 580, 200), fill=60)
    number = network.read_number(page)
    assert number.rows == ("721049",) and number.unread == ("1 shape that is not like a digit was left out",)


def test_small_digits_on_a_large_page_are_read_and_measured_in_its_pixels(write, network):
    page = write(["7210414959069015"] * 4, height=50, size=(3200, 2400))  # 10 pixels high on the page as it is read
    number = network.read_number(page)
    assert number.page.scale == pytest.approx(2.5)
    assert sum(row == "7210414959069015" for row in number.rows) >= 3
    left, top, right, bottom = number.boxes[0]
    assert abs(left - 40) < 8 and abs(top - 40) < 8 and abs(bottom - 90) < 8 and right < 110


def test_touching_digits_are_told_apart(mnist, network):
    pairs = list(reading.make_pairs(mnist.test, 1000))
    assert sum(network.read_number(pair.image).rows == (pair.text,) for pair in pairs) >= 800


def test_what_is_not_read_is_said(write, network):
    page = write(["72104"])
    pen = ImageDraw.Draw(page)
    left = network.read_number(page).boxes[-1][2] + 20
    pen.rectangle((left, 45, left + 30, 85), fill=0)  # a block as large as a digit
    number = network.read_number(page)
    assert number.rows[0].startswith("72104")
    assert number.rows[0].endswith("?") or number.unread == ("1 shape in row 1 was not read",)
    assert number.confidence < 0.9 < network.read_number(write(["72104"])).confidence


def test_empty_paper_is_blank(mnist, network):
    images = [pages.make_page(mnist.test, 5, index, 320, empty=True).image for index in range(40)]
    numbers = [network.read_number(image) for image in images]
    assert sum(bool(number.rows) for number in numbers) <= 1
    assert sum(network.predict(image).digit is not None for image in images) <= 1
    assert {number.reason for number in numbers if not number.rows} <= {"blank", "not like a digit"}


def test_a_shadow_that_stands_out_is_no_digit_where_the_page_reader_finds_none(network):
    """Today's thresholds take it for a 1."""
    sheet = np.full((200, 200), 230, np.uint8)
    sheet[:, 90:] = 120  # the edge of a page
    assert network.predict(sheet).digit is None


@pytest.mark.parametrize("side", [60, 280])
def test_a_1_that_the_picture_was_cut_to_is_read(side, network):
    picture = Image.new("L", (side, side), 255)
    ImageDraw.Draw(picture).line((0.45 * side, 0.1 * side, 0.52 * side, 0.9 * side), fill=30, width=side // 14)
    cut = picture.crop(ImageOps.invert(picture).getbbox())
    assert [network.predict(each).digit for each in (picture, cut)] == [1, 1]


def test_two_readings_are_combined_and_letters_are_refused(network):
    prediction = network.predict(np.pad(np.zeros((40, 6), np.uint8), 20, constant_values=255))
    assert prediction.digit == 1

    def glyph(probabilities: dict[int, float]) -> Glyph:
        values = np.full(11, 1e-6)
        values[list(probabilities)] = list(probabilities.values())
        return Glyph((0, 0, 1, 1), 0.9, values)

    assert page_reading.combine(glyph({1: 1.0}), prediction).confidence > 0.99
    doubtful = page_reading.combine(
        glyph({7: 0.999, 1: 0.001}), prediction._replace(probabilities=(0.05,) * 9 + (0.55,))
    )
    assert doubtful.digit == 7 or doubtful.alternatives
    unsure, refused = prediction._replace(confidence=0.9), prediction._replace(digit=None)
    letter, unlikely = glyph({10: 0.9, 1: 0.1}), glyph({10: 0.4, 1: 0.6})
    assert page_reading.combine(letter, prediction).digit == page_reading.combine(unlikely, unsure).digit == 1
    for one, other in ((letter, unsure), (unlikely, refused)):
        assert page_reading.combine(one, other).reason == "not like a digit"


def test_the_confidence_in_numbers_is_calibrated(mnist, network):
    """On pages of test digits that nothing was fitted on: within what 80 of them can tell."""
    found = [
        (number.confidence, list(number.rows) == rows)
        for image, rows in measurement.readable_pages(mnist.test, 4_000_000, range(550))
        if (number := network.read_number(image)).rows
    ]
    confidences, correct = (np.array(column, float) for column in zip(*found, strict=True))
    assert len(found) > 60 and abs(confidences.mean() - correct.mean()) < 0.1
    assert confidences[correct == 1].mean() > confidences[correct == 0].mean() + 0.2


def see(score: float, seen: int, read: int | None, confidence: float) -> page_reading.Reading:
    """A glyph of that score: PageNet sees one digit, both networks together read another or the same."""
    glyph = Glyph((0, 0, 1, 1), score, np.eye(11)[seen])
    probabilities = tuple(confidence if digit == read else (1 - confidence) / 9 for digit in range(10))
    return page_reading.Reading(glyph, Prediction(read, confidence, probabilities, None, None))


def test_faint_digits_count_beside_clearer_ones_only():
    faint, clear, texture = see(0.4, 1, 1, 0.997), see(0.7, 1, 1, 0.9), see(0.5, 1, 1, 0.3)
    assert page_reading._is_writing([faint, clear]) and page_reading._is_writing([clear])
    assert not page_reading._is_writing([faint]) and not page_reading._is_writing([faint, faint])
    assert not page_reading._is_writing([texture])


def test_a_doubt_between_two_digits_is_as_much_writing_as_a_sure_digit():
    sure = see(0.7, 9, 9, 0.98)
    doubtful = sure._replace(prediction=sure.prediction._replace(probabilities=(0,) * 4 + (0.44,) + (0,) * 4 + (0.54,)))
    lost = sure._replace(prediction=sure.prediction._replace(probabilities=(0.1,) * 10))
    assert page_reading._is_writing([sure]) and page_reading._is_writing([doubtful])
    assert not page_reading._is_writing([lost])


def test_the_features_of_confidence_are_those_of_a_worked_example():
    sure, doubtful = see(0.9, 3, 3, 0.9), see(0.6, 8, 3, 0.5)
    odds = 0.45 / 0.55  # of 0.9 times 0.5
    assert page_reading.confidence_features([sure, doubtful], 2) == pytest.approx(
        (1, np.log(odds), np.log(0.6), 1, 1, 0)
    )
    unread = see(0.8, 10, None, 1.0)
    assert page_reading.confidence_features([sure, unread], 0)[2:] == pytest.approx((np.log(0.8), 0, 0, 1))
    for features in ((1, 5, 0, 1, 0, 0), (1, 5, 0, 0, 0, 1)):  # whatever was read, not all was
        assert page_reading._confidence(features, None) == page_reading.MAX_INCOMPLETE
    with pytest.raises(UserError, match="of another version; train it again"):
        page_reading._confidence((1, 5, 0, 0, 0, 0), [0, 1, 0, 0])


@pytest.mark.parametrize(("confidence", "score", "digit"), [(0.99, 0.2, 1), (0.9, 0.2, None), (0.9, 0.52, 1)])
def test_a_doubtful_digit_needs_a_clear_trace_of_writing(confidence, score, digit, network, monkeypatch):
    page = analyze(np.pad(np.zeros((40, 6), np.uint8), 20, constant_values=255))
    prediction = network.read([page.digit()])[0]._replace(confidence=confidence)
    monkeypatch.setattr(page_reading, "find_glyphs", lambda *_: [Glyph((20, 20, 26, 60), score, np.eye(11)[1])])
    monkeypatch.setattr(page_reading, "_find_around", lambda *_: [])
    checked = page_reading.check(page, prediction, network.page_reader, network.read)
    assert (checked.digit, checked.reason) == (digit, None if digit else "blank")


def test_a_reading_that_pagenet_does_not_share_is_said(network, monkeypatch):
    picture = np.pad(np.zeros((40, 6), np.uint8), 20, constant_values=255)
    agreed = network.predict(picture)
    assert agreed.digit == 1 and not any("page reader" in warning for warning in agreed.warnings)
    seven = Glyph((20, 20, 26, 60), 0.9, np.eye(11)[7])
    monkeypatch.setattr(page_reading, "_find_around", lambda *_: [seven])
    disputed = network.predict(picture)
    assert disputed.digit == 1 and disputed.warnings[-1] == "the page reader takes it for 7"


def test_weights_of_confidence_that_were_put_in_are_found():
    random = np.random.default_rng(0)
    features = np.stack([np.ones(6000), random.normal(0, 2, 6000), random.normal(-1, 1, 6000)], axis=1)
    are_right = random.random(6000) < 1 / (1 + np.exp(-features @ [0.5, 0.8, 0.4]))
    assert calibration.calibrate_numbers(features, are_right) == pytest.approx([0.5, 0.8, 0.4], abs=0.12)


def test_a_page_without_more_pixels_cannot_be_enlarged():
    assert analyze(np.full((100, 100), 255, np.uint8)).enlarge() is None
    page = analyze(np.full((3000, 3000), 255, np.uint8))
    assert page.grey.shape == (640, 640) and page.enlarge().grey.shape == (1280, 1280)
    assert page.scale == pytest.approx(2 * page.enlarge().scale)
