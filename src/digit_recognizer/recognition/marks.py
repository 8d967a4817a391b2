"""How the digits of a page are marked wherever it is shown: in figures, on the web page and in the window."""

from typing import NamedTuple

import numpy as np

from digit_recognizer.recognition.prediction import Number, Prediction

SURE, DOUBTFUL, NOT_READ = "sure", "doubtful", "not read"
MIN_SURE = 0.9  # confidence of a digit that is sure, if it has no alternative
# Of Okabe and Ito's palette, which colour-blind readers tell apart; and what is legible on each.
COLOURS = {SURE: "#0072B2", DOUBTFUL: "#E69F00", NOT_READ: "#D55E00"}
TEXT_COLOURS = {SURE: "#FFFFFF", DOUBTFUL: "#000000", NOT_READ: "#000000"}
LEGEND = {SURE: "5  sure", DOUBTFUL: "5?  doubtful", NOT_READ: "?  not read"}

Box = tuple[float, float, float, float]  # left, top, right, bottom


class Mark(NamedTuple):
    """A digit as it is marked on a page.

    box: left, top, right, bottom in the pixels of number.page.image. certainty: a key of COLOURS.
    text: what it was read as, "5", "5?" or "?". place: in reading order, such as "#4"; empty for a sure one.
    """

    box: Box
    certainty: str
    text: str
    place: str

    @property
    def colour(self) -> str:
        """Of its box."""
        return COLOURS[self.certainty]

    @property
    def text_colour(self) -> str:
        """Of text on its colour."""
        return TEXT_COLOURS[self.certainty]


class Row(NamedTuple):
    """A row as it is marked on a page. name: such as "row 2"; empty where there is only one.

    start: x and y of where its name ends. line: x and y of both ends of a line below its digits. In pixels of
    number.page.image.
    """

    name: str
    start: tuple[float, float]
    line: Box


def certainty(prediction: Prediction) -> str:
    """Return how sure a digit is: a key of COLOURS."""
    if prediction.digit is None:
        return NOT_READ
    return SURE if prediction.confidence >= MIN_SURE and not prediction.alternatives else DOUBTFUL


def label(prediction: Prediction) -> str:
    """Return what a digit was read as: "5", "5?" where it is doubtful, "?" where it was not read."""
    return {SURE: f"{prediction.digit}", DOUBTFUL: f"{prediction.digit}?", NOT_READ: "?"}[certainty(prediction)]


def mark_digits(number: Number) -> list[Mark]:
    """Return the marks of a page's digits, in reading order."""
    marks = []
    for place, (box, prediction) in enumerate(zip(number.boxes, number.predictions, strict=True), 1):
        kind = certainty(prediction)
        upright = number.page.upright(box)
        marks.append(Mark(upright, kind, label(prediction), "" if kind == SURE else f"#{place}"))
    return marks


def mark_rows(number: Number) -> list[Row]:
    """Return the marks of a page's rows, from above. A line slopes as its row does."""
    boxes = np.array([number.page.upright(box) for box in number.boxes])
    of_row = np.array([prediction.preprocessed.row for prediction in number.predictions])
    names = [f"row {row}" for row in range(1, len(number.rows) + 1)] if len(number.rows) > 1 else [""]
    return [_mark_row(name, boxes[of_row == row]) for row, name in enumerate(names) if (of_row == row).any()]


def _mark_row(name: str, boxes: np.ndarray) -> Row:
    left, top, right, bottom = boxes.T
    middle, gap = (left + right) / 2, 0.15 * float(np.median(bottom - top))
    slope = float(np.polyfit(middle, bottom, 1)[0]) if np.ptp(middle) else 0.0
    level = float((bottom - slope * middle).max()) + gap  # below all of them
    first, start, end = int(left.argmin()), float(left.min()), float(right.max())
    line = (start, level + slope * start, end, level + slope * end)
    return Row(name, (start, float(top[first] + bottom[first]) / 2), line)
