"""Preprocessing: whatever happened to a digit on its way, the network sees it in MNIST's format."""

import io

import damage
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps

from digit_recognizer.preprocessing import binarization, mnist_format
from digit_recognizer.preprocessing.page import analyze
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.errors import UserError


def answers(network: Recognizer, digits: list[np.ndarray]) -> torch.Tensor:
    """What the network reads in pictures of 28x28."""
    return torch.from_numpy(network.logits(np.stack(digits))).argmax(1)


def page(digit: np.ndarray, size: int = 280) -> np.ndarray:
    """A digit of MNIST as a drawing: dark on light, enlarged."""
    return 255 - np.asarray(Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC))


def test_digits_in_mnists_format_pass_unchanged(mnist, network):
    digits = mnist.test.images[:500].numpy()
    images = [analyze(digit).digit().image for digit in digits]
    assert (answers(network, images) == answers(network, list(digits))).float().mean() >= 0.998


def turned_by_exif(digit: np.ndarray) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(page(digit, 112)).rotate(180).save(file, "PNG", exif=exif)
    return file.getvalue()


CHANGES = {
    "dark on light": lambda digit: 255 - digit,
    "shifted": lambda digit: np.roll(digit, (4, -3), (0, 1)) if not digit[-4:].any() else np.roll(digit, -2, 1),
    "enlarged": lambda digit: page(digit, 200),
    "reduced": lambda digit: np.pad(np.asarray(Image.fromarray(digit).resize((21, 21), Image.Resampling.BICUBIC)), 4),
    "turned by EXIF": turned_by_exif,
    "transparent": lambda digit: Image.merge("LA", (Image.new("L", (28, 28)), Image.fromarray(digit))),
    "padded": lambda digit: np.pad(digit, ((5, 40), (60, 11))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_change_a_digit_does_not_change_the_answer(change, mnist, network):
    digits = mnist.test.images[:200].numpy()
    images = [analyze(CHANGES[change](digit)).digit().image for digit in digits]
    assert (answers(network, images) == answers(network, list(digits))).float().mean() >= 0.99


@pytest.mark.parametrize("kind", damage.KINDS)
def test_damaged_digits_are_still_read(kind, mnist, network):
    digits, labels = mnist.test.images[:100].numpy(), mnist.test.labels[:100].tolist()
    pages = [damage.KINDS[kind](page(digit), np.random.default_rng(seed)) for seed, digit in enumerate(digits)]
    assert np.mean([network.predict(each).digit == label for each, label in zip(pages, labels, strict=True)]) >= 0.97


def drawing(*lines: tuple, width: int = 12, size: int = 200) -> Image.Image:
    """Dark strokes on white paper, each through some points."""
    image = Image.new("L", (size, size), 255)
    for line in lines:
        ImageDraw.Draw(image).line(line, fill=0, width=width, joint="curve")
    return image


def test_the_format_is_mnists():
    digit = analyze(drawing((100, 30, 100, 170))).digit()
    rows, columns = np.flatnonzero(digit.image.any(1)), np.flatnonzero(digit.image.any(0))
    assert (rows[0], rows[-1]) == (4, 23)  # 20 long
    assert abs(columns.mean() - 13.5) <= 1  # and in the middle
    assert digit.image.dtype == np.uint8 and digit.image.max() == 255
    assert (digit.reason, digit.warnings[0]) == (None, "dark on light, inverted")
    left, top, right, bottom = digit.box
    assert max(abs(left - 94), abs(right - 107), abs(top - 30), abs(bottom - 171)) <= 2


@pytest.mark.parametrize(("width", "word"), [(1, "thickened"), (40, "thinned"), (20, None)])
def test_strokes_come_near_mnists(width, word):
    digit = analyze(drawing((60, 30, 140, 170), (60, 170, 140, 30), width=width)).digit()
    mask = digit.image > 127
    assert 1.6 <= 4 * mnist_format.distance_to_edge(mask)[mask].mean() <= 4.6
    warnings = [warning for warning in digit.warnings if "strokes" in warning]
    assert len(warnings) == (word is not None) and all(word in warning for warning in warnings)


def test_a_detached_stroke_is_kept_and_a_speck_dropped():
    five = drawing((70, 60, 70, 100, 110, 95, 130, 120, 120, 150, 90, 160, 65, 150), (78, 50, 130, 50))  # its bar apart
    page = analyze(five)
    assert page.digit().component.mask(page.foreground.mask.shape)[50, 100]
    ImageDraw.Draw(five).ellipse((20, 180, 24, 184), fill=0)
    assert np.array_equal(analyze(five).digit().image, page.digit().image)


@pytest.mark.parametrize("squared", [False, True])
def test_lines_of_ruled_and_squared_paper_are_not_foreground(squared):
    sheet = np.array(drawing((60, 50, 140, 50, 90, 150), size=240))
    plain = analyze(sheet).digit()
    sheet[20::25] = np.minimum(sheet[20::25], 150)
    sheet[:, 15::25] = np.minimum(sheet[:, 15::25], 150) if squared else sheet[:, 15::25]
    ruled = analyze(sheet)
    assert len(ruled.components) == 1
    assert np.abs(np.subtract(ruled.digit().box, plain.box)).max() <= 2


def blank_pages() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    ruled = np.full((300, 300), 245, np.uint8)
    ruled[20::25] = 150
    return {
        "white": np.full((90, 300), 255, np.uint8),
        "black": np.zeros((100, 100), np.uint8),
        "faint noise": np.uint8(generator.normal(200, 8, (200, 200)).clip(0, 255)),
        "strong noise": np.uint8(generator.normal(128, 40, (200, 200)).clip(0, 255)),
        "a ramp": np.tile(np.linspace(90, 220, 200).astype(np.uint8), (200, 1)),
        "ruled paper": ruled,
    }


@pytest.mark.parametrize("name", blank_pages())
def test_blank_pages_have_no_digit_and_no_number(name, network):
    prediction = network.predict(blank_pages()[name])
    assert prediction.digit is None and prediction.reason in ("blank", "not like a digit")
    assert network.read_number(blank_pages()[name]).number.strip("?") == ""


def test_the_polarity_of_a_tight_crop():
    tight = drawing((10, 10, 190, 10, 60, 190), width=30)
    assert binarization.is_dark_on_light(np.asarray(tight, np.float32) / 255)
    assert not binarization.is_dark_on_light(np.asarray(ImageOps.invert(tight), np.float32) / 255)


@pytest.mark.parametrize("rows", [["7210"], ["41495906"], ["721", "041"]])
def test_numbers_are_read_from_left_to_right_and_from_above(rows, mnist, network):
    first = {label: int((mnist.test.labels == int(label)).nonzero()[0]) for label in "0123456789"}
    cells = [[np.pad(page(mnist.test.images[first[label]].numpy(), 84), 6, constant_values=255) for label in row]
             for row in rows]  # fmt: skip
    read = network.read_number(np.block(cells))
    assert list(read.rows) == rows and read.number == "".join(rows)
    places = [(row, column) for row, labels in enumerate(rows) for column in range(len(labels))]
    for (row, column), (left, top, right, bottom) in zip(places, read.boxes, strict=True):
        assert 96 * column <= left < right <= 96 * (column + 1) and 96 * row <= top < bottom <= 96 * (row + 1)


def test_many_shapes_a_thin_line_and_an_empty_scan_are_no_digits(network):
    down, across = np.indices((640, 640))
    squares = analyze(np.where((down % 33 < 16) & (across % 33 < 16), np.uint8(0), np.uint8(255)))
    assert squares.digit().reason == "several digits"
    assert network.read_number(squares).rows == ()
    line = np.full((100, 150), 255, np.uint8)
    line[50, 10:140] = 0
    assert network.read_number(line).rows == ()
    with pytest.raises(UserError, match="the scan is empty"):
        mnist_format.as_mnist(np.zeros((8, 8)))
