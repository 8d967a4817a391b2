"""Read an image for the page: one digit, or the number that several make up; and a table of many images.

Independent of Streamlit.
"""

import threading
from typing import Any, NamedTuple

import joblib

from digit_recognizer.preprocessing.page import Page, analyze
from digit_recognizer.recognition import table
from digit_recognizer.recognition.prediction import UNLIKE, Number, Prediction
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.errors import UserError

# Each visitor has a thread. More readings at once than cores would not be quicker, and all would need their memory.
_free_cores = threading.BoundedSemaphore(joblib.cpu_count())


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
        return str(self.prediction.digit) if self.number is None else "\n".join(self.number.lines)

    @property
    def confidence(self) -> float:
        """The confidence, 0 to 1, that all of it is right; 0 where nothing was read."""
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
    """Read one digit; a number where as_number is set or several digits are found. Waits for a free core.

    source: a file, bytes, an image or an array. Raises UserError where it is not an image.
    """
    with _free_cores:
        page = analyze(source)
        prediction = recognizer.predict(page)
        if prediction.reason == "blank" or not (as_number or prediction.reason == "several digits"):
            return Answer(page, prediction, None, prediction.reason)
        number = recognizer.read_number(page)
    digits = sum(one.digit is not None for one in number.predictions)
    # Among the many shapes of a photograph, such as a cat's whiskers, a few may pass for digits.
    return Answer(page, prediction, number, None if 2 * digits > len(number.predictions) else UNLIKE)


def table_row(recognizer: Recognizer, name: str, source: Any, as_number: bool = False) -> table.Row:
    """Read one image of many as a row of the table."""
    try:
        answer = read(recognizer, source, as_number)
    except UserError as error:
        return table.unreadable_row(name, error)
    notes = (*([answer.doubt] if answer.doubt else []), *answer.warnings)
    return table.make_row(name, answer.text.split("\n"), answer.confidence, answer.reason, notes)
