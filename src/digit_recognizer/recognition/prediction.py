"""What a picture was read as: one digit, or the numbers of a page."""

import itertools
from typing import NamedTuple

import numpy as np

from digit_recognizer.preprocessing.page import Page, PreprocessedDigit
from digit_recognizer.runtime.text import percent

BLANK, SEVERAL, UNLIKE = "blank", "several digits", "not like a digit"  # reasons
MIN_ALTERNATIVE = 0.1  # the least probability of another digit that is named beside the answer


class Prediction(NamedTuple):
    """What a picture was read as.

    digit: 0 to 9, or None where there is none; reason then says why: blank, several digits, not like a digit.
    confidence: calibrated probability, 0 to 1, of the likeliest digit; 0 on a blank picture.
    probabilities: of the ten digits; they add up to 1. preprocessed: what the network was given. page: the picture as
    it was analyzed, about 5 MB; only Recognizer.predict keeps it.
    """

    digit: int | None
    confidence: float
    probabilities: tuple[float, ...]
    reason: str | None
    preprocessed: PreprocessedDigit
    page: Page | None = None

    @property
    def image(self) -> np.ndarray:
        """What the network saw: uint8 (28, 28), foreground bright."""
        return self.preprocessed.image

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was noticed in the picture or changed, for the user."""
        return self.preprocessed.warnings

    @property
    def ranked(self) -> list[int]:
        """The ten digits, the likeliest first."""
        return sorted(range(10), key=lambda digit: -self.probabilities[digit])

    @property
    def alternatives(self) -> tuple[int, ...]:
        """The other digits that it may well be, the likelier first; none where nothing was read."""
        if self.digit is None:
            return ()
        others = (digit for digit in self.ranked if digit != self.digit)
        return tuple(digit for digit in others if self.probabilities[digit] >= MIN_ALTERNATIVE)

    @property
    def doubt(self) -> str:
        """The alternatives in words, such as "or 9 (44.2%)"; empty where there are none."""
        return " ".join(f"or {digit} ({percent(self.probabilities[digit])})" for digit in self.alternatives)


class Number(NamedTuple):
    """The digits of a row, or of rows, from above.

    reason: why there is no number, blank or not like a digit; else None. rows: each as text, "?" for what was not
    read. numbers: of each row, which is split at wide gaps. predictions: in reading order. confidence: calibrated
    probability, 0 to 1, that all rows are right; 0 where nothing was read. page: the picture as it was analyzed, turned
    upright. unread: warnings of what was left out. features: of page_reading.confidence_features.
    """

    reason: str | None
    rows: tuple[str, ...]
    numbers: tuple[tuple[str, ...], ...]
    predictions: tuple[Prediction, ...]
    confidence: float
    page: Page
    unread: tuple[str, ...] = ()
    features: tuple[float, ...] = ()

    @property
    def boxes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Of each digit, left, top, right, bottom in the picture's own pixels."""
        return tuple(prediction.preprocessed.box for prediction in self.predictions)

    @property
    def number(self) -> str:
        """All rows one after the other."""
        return "".join(self.rows)

    @property
    def lines(self) -> tuple[str, ...]:
        """The rows with a space between numbers, such as "12 345"."""
        return tuple(" ".join(numbers) for numbers in self.numbers)

    @property
    def weakest(self) -> int:
        """The index of the digit that was not read, or else of the least sure one."""
        unsure = [(each.digit is not None, each.confidence) for each in self.predictions]
        return unsure.index(min(unsure))

    @property
    def doubt(self) -> str:
        """The alternatives of its digits in words, such as "#2: 5 or 9 (44.2%)", by their place from 1."""
        numbered = enumerate(self.predictions, 1)
        return ", ".join(f"#{place}: {each.digit} {each.doubt}" for place, each in numbered if each.doubt)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out, and what was noticed in the picture or changed in any of its digits, each once."""
        digits = itertools.chain.from_iterable(each.warnings for each in self.predictions)
        return tuple(dict.fromkeys((*self.unread, *self.page.warnings, *digits)))
