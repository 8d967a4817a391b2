"""What the web page makes of one picture: a digit, or the number that several make up; and a table of many pictures.

Knows nothing of Streamlit.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from digit_recognizer.preprocessing import mnist_format
from digit_recognizer.preprocessing.mnist_format import Intake
from digit_recognizer.recognition.recognizer import UNLIKE, Number, Prediction, Recognizer
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import one_line, percent

COLUMNS = ("file", "read", "confidence", "note")
REFUSALS = {"blank": "refused: there is no ink", UNLIKE: "refused: does not look like a digit"}
# What a spreadsheet would run, at the beginning of a cell, or of what it takes for one where semicolons divide them.
FORMULA = re.compile(r"""((?:^|[,;|])["'\s]*)(?=[=+\-@＝＋－＠])""")


class Answer(NamedTuple):
    """What a picture was read as.

    intake, prediction: of the whole picture as one digit. number: where it was read as several, else None.
    reason: why there is nothing to read, or None.
    """

    intake: Intake
    prediction: Prediction
    number: Number | None
    reason: str | None

    @property
    def predictions(self) -> Sequence[Prediction]:
        """Of each digit."""
        return (self.prediction,) if self.number is None else self.number.predictions

    @property
    def text(self) -> str:
        """The digit, or the number with its rows under each other; empty where there is nothing to read."""
        if self.reason:
            return ""
        return str(self.prediction.digit) if self.number is None else "\n".join(self.number.rows)

    @property
    def confidence(self) -> float:
        """0 to 1, of the least sure digit; 0 where there is none."""
        return 0.0 if self.reason else (self.prediction if self.number is None else self.number).confidence

    @property
    def warnings(self) -> list[str]:
        """What was noticed in any of its parts, each once."""
        return list(dict.fromkeys(warning for prediction in self.predictions for warning in prediction.warnings))


def read(recognizer: Recognizer, source: Any, whole: bool = False) -> Answer:
    """Read one digit or, where whole is set or several are found, a number. Raises UserError for what is no picture."""
    intake = mnist_format.to_mnist(source)
    (prediction,) = recognizer.read([intake])
    if prediction.reason == "blank" or not (whole or prediction.reason == "several digits"):
        return Answer(intake, prediction, None, prediction.reason)
    number = recognizer.read_number(source)
    found = sum(one.digit is not None for one in number.predictions)
    # A cat's whiskers may pass for a digit or two among many shapes that are none.
    return Answer(intake, prediction, number, None if 2 * found > len(number.predictions) else UNLIKE)


def row(recognizer: Recognizer, name: str, source: Any, whole: bool = False) -> dict[str, str]:
    """One line of the table of many pictures; what cannot be read says so in its note."""
    name = one_line(name)
    try:
        answer = read(recognizer, source, whole)
    except UserError as error:
        return dict(zip(COLUMNS, (name, "", "", one_line(str(error))), strict=True))
    note = [REFUSALS[answer.reason]] if answer.reason else []
    confidence = "" if answer.reason else percent(answer.confidence)
    text = answer.text.replace("\n", " / ")
    return dict(zip(COLUMNS, (name, text, confidence, "; ".join([*note, *answer.warnings])), strict=True))


def as_csv(rows: Iterable[dict[str, str]]) -> bytes:
    """The table as a file for spreadsheets. What begins like a formula gets a quote in front."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for line in rows:
        writer.writerow({name: FORMULA.sub(r"\1'", value) for name, value in line.items()})
    return text.getvalue().encode("utf-8-sig")  # without its mark Excel takes names for Latin
