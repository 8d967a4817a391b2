"""Read the digits of a page: PageNet finds them, and the network of single digits reads each of them again."""

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from digit_recognizer.page_reader import checkpoints, detection, rows
from digit_recognizer.page_reader.detection import Glyph
from digit_recognizer.preprocessing.components import Component
from digit_recognizer.preprocessing.page import Page, analyze
from digit_recognizer.recipes.page_reader import OTHER

if TYPE_CHECKING:
    from digit_recognizer.recognition.recognizer import Prediction, Recognizer

MIN_SCORE = 0.4  # of a glyph that is read
MIN_FAINT_SCORE = 0.2  # of a glyph in a row that is shown as "?"
MAX_OTHER = 0.5  # probability that a glyph is not a digit
WEIGHT = 0.5  # of the network of single digits in the probabilities; PageNet has the rest
UNLIKE = "not like a digit"
MIN_TURNED = 3  # digits; fewer do not tell how a page lies
SURE = 0.85  # mean evidence of a digit, above which a page lies upright
TURN_GAIN = 1.5  # times the evidence, which a page that is turned must give
MIN_UNREAD_EXTENT = 0.4  # of a row's height, from which on a shape in it is writing


class Number(NamedTuple):
    """The digits of a row, or of rows, from above.

    reason: why there is no number, blank or not like a digit; else None. rows: each as text, "?" for what was not
    read. numbers: of each row, split at wide gaps. predictions: in reading order. confidence: 0 to 1, that all of it is
    right; 0 where nothing was read. page: the picture as it was analyzed. unread: warnings of what was left out.
    """

    reason: str | None
    rows: tuple[str, ...]
    numbers: tuple[tuple[str, ...], ...]
    predictions: tuple["Prediction", ...]
    confidence: float
    page: Page
    unread: tuple[str, ...]

    @property
    def boxes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Of each digit, left, top, right, bottom in the picture's own pixels."""
        return tuple(prediction.preprocessed.box for prediction in self.predictions)

    @property
    def number(self) -> str:
        """All rows one after the other."""
        return "".join(self.rows)

    @property
    def text(self) -> str:
        """Rows and numbers as a person writes them on a line: 12 345 / 67."""
        return " / ".join(" ".join(row) for row in self.numbers)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was noticed in the picture or changed in any of its digits, and what was left out, each once."""
        digits = itertools.chain.from_iterable(each.warnings for each in self.predictions)
        return tuple(dict.fromkeys((*self.page.warnings, *digits, *self.unread)))


def read(recognizer: "Recognizer", picture: Any) -> Number:
    """Read the digits of a row, or of rows. Rows of which more than half is not like a digit are left out."""
    page, glyphs = find(picture)
    predictions, texts, numbers, unread = [], [], [], []
    covered: list[Glyph] = list(glyphs)
    for indices in rows.find_rows(np.array([glyph.box for glyph in glyphs])):
        row = [glyphs[index] for index in indices]
        read_row = read_glyphs(recognizer, page, row, glyphs, len(texts))
        if 2 * sum(each.digit is None for each in read_row) > len(row):
            unread.append(f"{_shapes(len(row))} not like digits {'was' if len(row) == 1 else 'were'} left out")
            continue
        text = "".join("?" if each.digit is None else str(each.digit) for each in read_row)
        split = rows.split_numbers(np.array([glyph.box for glyph in row]))
        texts.append(text)
        numbers.append(tuple("".join(text[place] for place in number) for number in split))
        predictions += read_row
        missing = _unread_shapes(page, row, covered)
        if missing:
            unread.append(f"{_shapes(missing)} in row {len(texts)} {'was' if missing == 1 else 'were'} not read")
    reason = None if texts else (UNLIKE if glyphs else "blank")
    confidence = float(np.prod([each.confidence for each in predictions])) if predictions else 0.0
    return Number(reason, tuple(texts), tuple(numbers), tuple(predictions), confidence, page, tuple(unread))


def find(picture: Any) -> tuple[Page, list[Glyph]]:
    """Find the glyphs of a page, which is turned where its digits lie on their side or upside down."""
    page = analyze(picture)
    glyphs = _found(page)
    if len(glyphs) >= MIN_TURNED and _evidence(glyphs) < SURE * len(glyphs):
        turned = [page.turn(quarters) for quarters in (1, 2, 3)]
        found = [_found(each) for each in turned]
        best = max(range(3), key=lambda index: _evidence(found[index]))
        if _evidence(found[best]) > TURN_GAIN * _evidence(glyphs):
            return turned[best], found[best]
    return page, glyphs


def _found(page: Page) -> list[Glyph]:
    return [glyph for glyph in detection.find_glyphs(checkpoints.pretrained(), page.grey) if glyph.score >= MIN_SCORE]


def _evidence(glyphs: list[Glyph]) -> float:
    """How many digits there seem to be, each counted with its probability."""
    return float(sum(glyph.score * glyph.probabilities[:OTHER].max() for glyph in glyphs))


def read_glyphs(
    recognizer: "Recognizer", page: Page, row: list[Glyph], others: list[Glyph], number: int
) -> list["Prediction"]:
    """Read the glyphs of a row with both networks. others: all glyphs of the page. number: of the row."""
    cuts = [page.cut(glyph.box, [other.box for other in others if other is not glyph], number) for glyph in row]
    return [combine(glyph, prediction) for glyph, prediction in zip(row, recognizer.read(cuts), strict=True)]


def combine(glyph: Glyph, prediction: "Prediction") -> "Prediction":
    """One answer of both networks: the weighted mean of their logarithmic probabilities."""
    digits = glyph.probabilities[:OTHER] / max(float(glyph.probabilities[:OTHER].sum()), 1e-6)
    logits = (1 - WEIGHT) * np.log(digits + 1e-6)
    if prediction.image.any():
        logits = logits + WEIGHT * np.log(np.array(prediction.probabilities) + 1e-4)
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    is_digit = glyph.probabilities[OTHER] <= MAX_OTHER
    return prediction._replace(
        digit=int(probabilities.argmax()) if is_digit else None,
        confidence=float(probabilities.max()),
        probabilities=tuple(probabilities.tolist()),
        reason=None if is_digit else UNLIKE,
    )


def _unread_shapes(page: Page, row: list[Glyph], glyphs: list[Glyph]) -> int:
    """Count the shapes in a row, or just beside it, that are as large as writing and that no glyph covers."""
    boxes = np.array([glyph.box for glyph in row])
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    left, top, right, bottom = *boxes[:, :2].min(0), *boxes[:, 2:].max(0)
    count = 0
    for component in page.components:
        placed = component.shifted(page.foreground.top, page.foreground.left)
        rows_, columns = (placed.bbox[0], placed.bbox[2]), (placed.bbox[1], placed.bbox[3])
        in_row = top <= sum(rows_) / 2 <= bottom and left - 2 * height <= sum(columns) / 2 <= right + 2 * height
        as_large = MIN_UNREAD_EXTENT * height <= max(rows_[1] - rows_[0], columns[1] - columns[0]) <= 2 * height
        if in_row and as_large and not any(_covers(glyph, placed) for glyph in glyphs):
            count += 1
    return count


def _covers(glyph: Glyph, component: Component) -> bool:
    """Whether most of a component lies in a glyph's box."""
    top, left, bottom, right = component.bbox
    across = min(glyph.box[2], right) - max(glyph.box[0], left)
    down = min(glyph.box[3], bottom) - max(glyph.box[1], top)
    return across > 0 and down > 0 and across * down > 0.4 * (bottom - top) * (right - left)


def _shapes(count: int) -> str:
    return "1 shape" if count == 1 else f"{count} shapes"
