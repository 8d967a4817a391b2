"""Read an image for the page: one digit, or the number that several make up; and a table of many images.

Independent of Streamlit.
"""

import csv
import io
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from digit_recognizer.preprocessing.page import Page, analyze
from digit_recognizer.recognition.recognizer import UNLIKE, Number, Prediction, Recognizer
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import one_line, percent

COLUMNS = ("file", "read", "confidence", "note")
NOTES = {"blank": "refused: there is no ink", UNLIKE: "refused: does not look like a digit"}
# The start of a formula, at the beginning of a cell or behind a character that some spreadsheets take for a delimiter.
FORMULA = re.compile(r"""((?:^|[,;|])["'\s]*)(?=[=+\-@＝＋－＠])""")


class Answer(NamedTuple):
    """What an image was read as.

    page: the image as it was analyzed. prediction: of the whole image as one digit. number: where it was read as
    several, else None.
    reason: why nothing was read, blank or not like a digit, or None.
    """

    page: Page
    prediction: Prediction
    number: Number | None
    reason: str | None

    @property
    def text(self) -> str:
        """The digit, or the rows of the number as lines; empty where nothing was read."""
        if self.reason:
            return ""
        return str(self.prediction.digit) if self.number is None else "\n".join(self.number.rows)

    @property
    def confidence(self) -> float:
        """The confidence, 0 to 1, in the least sure digit; 0 where nothing was read."""
        return 0.0 if self.reason else (self.number or self.prediction).confidence

    @property
    def doubt(self) -> str:
        """What else it may be, in words; empty where that is no question or nothing was read."""
        return "" if self.reason else (self.number or self.prediction).doubt

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of all digits, without duplicates."""
        return (self.number or self.prediction).warnings


def read(recognizer: Recognizer, source: Any, as_number: bool = False) -> Answer:
    """Read one digit; a number where as_number is set or several digits are found.

    source: a file, bytes, an image or an array. Raises UserError where it is not an image.
    """
    page = analyze(source)
    prediction = recognizer.predict(page)
    if prediction.reason == "blank" or not (as_number or prediction.reason == "several digits"):
        return Answer(page, prediction, None, prediction.reason)
    number = recognizer.read_number(page)
    digits = sum(one.digit is not None for one in number.predictions)
    # Among the many shapes of a photograph, such as a cat's whiskers, a few may pass for digits.
    return Answer(page, prediction, number, None if 2 * digits > len(number.predictions) else UNLIKE)


def table_row(recognizer: Recognizer, name: str, source: Any, as_number: bool = False) -> dict[str, str]:
    """Read one image of many as a row of the table; the note says why an image could not be read."""
    name = one_line(name)
    try:
        answer = read(recognizer, source, as_number)
    except UserError as error:
        return dict(zip(COLUMNS, (name, "", "", one_line(str(error))), strict=True))
    note = [NOTES[answer.reason]] if answer.reason else [answer.doubt] if answer.doubt else []
    confidence = "" if answer.reason else percent(answer.confidence)
    text = answer.text.replace("\n", " / ")
    return dict(zip(COLUMNS, (name, text, confidence, "; ".join([*note, *answer.warnings])), strict=True))


def to_csv(rows: Iterable[dict[str, str]]) -> bytes:
    """Return the table as a CSV file. A quote is put in front of whatever a spreadsheet would run as a formula."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: FORMULA.sub(r"\1'", value) for name, value in row.items()})
    return text.getvalue().encode("utf-8-sig")  # without the byte order mark Excel takes it for Latin-1
