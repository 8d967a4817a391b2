"""Read the digits of a page: PageNet finds them, and the network of single digits reads each of them again."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from digit_recognizer.page_reader import detection, rows
from digit_recognizer.page_reader.checkpoints import PageReader
from digit_recognizer.page_reader.detection import Glyph
from digit_recognizer.preprocessing.components import Component
from digit_recognizer.preprocessing.page import Page, PreprocessedDigit
from digit_recognizer.recipes.page_reader import OTHER
from digit_recognizer.recognition.prediction import BLANK, SEVERAL, UNLIKE, Number, Prediction

MAX_OTHER = 0.5  # probability that a glyph is not a digit
WEIGHT = 0.5  # of the network of single digits in the logarithmic probabilities; PageNet has the rest
MIN_TRACE = 0.15  # score of a glyph; without one a page holds no writing
MIN_SURE = 0.5  # score of a glyph that is read although it is not what stands out on the page
MIN_SAME = 0.5  # intersection over union of two boxes of the same digit
SMALL = 22  # pixels, longest side of digits, below which a page is enlarged if it can be
MIN_TURNED = 3  # digits; fewer do not tell how a page lies
SURE = 0.7  # mean probability of the digits, above which a page lies upright
TURN_GAIN = 1.3  # times the evidence of digits that a turned page must give
MIN_UNREAD_EXTENT = 0.4  # of a row's height, from which on a shape in it is writing
MAX_UNREAD_EXTENT = 2.0  # of the same; what is larger is an edge or a shadow
MIN_COVERED = 0.4  # of a shape, by the boxes of glyphs that were found

ReadDigits = Callable[[Sequence[PreprocessedDigit]], list[Prediction]]


def read(page: Page, reader: PageReader, read_digits: ReadDigits) -> Number:
    """Read the digits of a row, or of rows. Rows of which more than half is not like a digit are left out.

    reader: finds the digits. read_digits: the network of single digits; see Recognizer.read.
    """
    page, glyphs = find(page, reader)
    scores: list[float] = []
    unread_count = 0
    predictions: list[Prediction] = []
    texts: list[str] = []
    numbers: list[tuple[str, ...]] = []
    unread: list[str] = []
    for indices in rows.find_rows(_boxes(glyphs)):
        row = [glyphs[index] for index in indices]
        read_row = read_glyphs(read_digits, page, row, glyphs, len(texts))
        text = "".join("?" if each.digit is None else str(each.digit) for each in read_row)
        if 2 * text.count("?") > len(text):
            unread.append(f"{_shapes(len(row))} not like digits {_was(len(row))} left out")
            continue
        texts.append(text)
        numbers.append(tuple("".join(text[place] for place in places) for places in rows.split_numbers(_boxes(row))))
        predictions += read_row
        scores += [glyph.score for glyph in row]
        missing = _count_unread(page, row, glyphs)
        unread_count += missing + text.count("?")
        if missing:
            unread.append(f"{_shapes(missing)} in row {len(texts)} {_was(missing)} not read")
    reason = None if texts else (UNLIKE if glyphs else BLANK)
    features = confidence_features(predictions, scores, unread_count)
    confidence = _confidence(features, reader.calibration) if predictions else 0.0
    return Number(reason, tuple(texts), tuple(numbers), tuple(predictions), confidence, page, tuple(unread), features)


def confidence_features(predictions: Sequence[Prediction], scores: Sequence[float], unread: int) -> tuple[float, ...]:
    """What tells how likely a number is right.

    They are 1, the log-odds of all digits being right if their confidences were independent, the sum of the logarithms
    of the scores of the glyphs, and the number of shapes that were not read.
    """
    product = float(np.clip(np.prod([each.confidence for each in predictions]), 1e-6, 1 - 1e-6))
    return 1.0, math.log(product / (1 - product)), float(np.log(scores).sum()), float(unread)


def _confidence(features: Sequence[float], weights: Sequence[float] | None) -> float:
    """The probability that a number is right. weights: fitted by recognition.calibration; else the product itself."""
    return 1 / (1 + math.exp(-float(np.dot(features, weights or (0, 1, 0, 0)))))


def find(page: Page, reader: PageReader) -> tuple[Page, list[Glyph]]:
    """Find the glyphs of a page.

    The page is enlarged where its digits are small or none is found, and turned where they lie on their side or upside
    down.
    """
    glyphs = find_glyphs(page, reader)
    if not glyphs or np.median([_longest(glyph) for glyph in glyphs]) < SMALL:
        larger = page.enlarge()
        found = find_glyphs(larger, reader) if larger else []
        if larger and _evidence(found) > _evidence(glyphs):
            page, glyphs = larger, found
    if len(glyphs) >= MIN_TURNED and _evidence(glyphs) < SURE * len(glyphs):
        turned = [page.turn(quarters) for quarters in (1, 2, 3)]
        all_found = [find_glyphs(each, reader) for each in turned]
        best = max(range(3), key=lambda index: _evidence(all_found[index]))
        if _evidence(all_found[best]) > TURN_GAIN * _evidence(glyphs):
            return turned[best], all_found[best]
    return page, glyphs


def _longest(glyph: Glyph) -> float:
    left, top, right, bottom = glyph.box
    return max(right - left, bottom - top)


def find_glyphs(
    page: Page, reader: PageReader, size: float | None = None, min_score: float = detection.MIN_READ_SCORE
) -> list[Glyph]:
    """The glyphs of a page that are sure enough. size: in the page's pixels, where it is known."""
    found = detection.find_glyphs(reader.model, page.grey, size)
    return [glyph for glyph in found if glyph.score >= min_score]


def check(page: Page, prediction: Prediction, reader: PageReader, read_digits: ReadDigits) -> Prediction:
    """Hold the reading of a page as one digit against what PageNet finds on it, and return the better one.

    Where both mean the same shape, the prediction stays, with a warning if PageNet reads it otherwise. Where PageNet
    finds one digit elsewhere, that one is read. Where it finds nothing at all, there is none.
    """
    top, left, bottom, right = prediction.preprocessed.component.bbox
    box, size = (left, top, right, bottom), max(bottom - top, right - left)
    if prediction.digit is not None:
        glyphs = find_glyphs(page, reader, size, MIN_TRACE)
        same = [glyph for glyph in glyphs if detection.iou(box, glyph.box) >= MIN_SAME]
        if same and same[0].score >= detection.MIN_READ_SCORE:
            return prediction
    glyphs = find_glyphs(page, reader, min_score=MIN_TRACE)
    if not glyphs:
        return prediction._replace(digit=None, reason=prediction.reason or BLANK)
    sure = [glyph for glyph in glyphs if glyph.score >= MIN_SURE and glyph.probabilities[OTHER] <= MAX_OTHER]
    if len(sure) > 1 and prediction.reason == BLANK:
        return prediction._replace(reason=SEVERAL)
    if len(sure) == 1 and detection.iou(box, sure[0].box) < MIN_SAME:
        return read_glyphs(read_digits, page, sure, glyphs, 0)[0]
    return prediction


def _evidence(glyphs: list[Glyph]) -> float:
    """How many digits there seem to be, each counted with its probability."""
    return float(sum(glyph.probabilities[:OTHER].max() for glyph in glyphs))


def read_glyphs(
    read_digits: ReadDigits, page: Page, row: list[Glyph], glyphs: list[Glyph], number: int
) -> list[Prediction]:
    """Read the glyphs of a row with both networks. glyphs: all of the page. number: of the row."""
    boxes = _boxes(glyphs)
    cuts = [page.cut(glyph.box, _neighbours(glyph, boxes), number) for glyph in row]
    return [combine(glyph, prediction) for glyph, prediction in zip(row, read_digits(cuts), strict=True)]


def _neighbours(glyph: Glyph, boxes: np.ndarray) -> list[list[float]]:
    """Those of the boxes that come nearer to a glyph than its own size, without its own."""
    left, top, right, bottom = glyph.box
    reach = _longest(glyph)
    near = (boxes[:, 0] < right + reach) & (boxes[:, 2] > left - reach)
    near &= (boxes[:, 1] < bottom + reach) & (boxes[:, 3] > top - reach)
    return boxes[near & (boxes != glyph.box).any(1)].tolist()


def combine(glyph: Glyph, prediction: Prediction) -> Prediction:
    """One answer of both networks: the weighted mean of their logarithmic probabilities."""
    digits = glyph.probabilities[:OTHER] / max(float(glyph.probabilities[:OTHER].sum()), 1e-6)
    logits = (1 - WEIGHT) * np.log(digits + 1e-6)
    if prediction.image.any():  # else nothing could be cut out
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


def _count_unread(page: Page, row: list[Glyph], glyphs: list[Glyph]) -> int:
    """Count the shapes in a row, or at its ends, that are as large as writing and that no glyph covers."""
    boxes = _boxes(row)
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    (left, top), (right, bottom) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    count = 0
    for component in page.components:
        placed = component.shifted(page.foreground.top, page.foreground.left)
        y0, x0, y1, x1 = placed.bbox
        in_row = top <= (y0 + y1) / 2 <= bottom and left - 2 * height <= (x0 + x1) / 2 <= right + 2 * height
        is_writing = MIN_UNREAD_EXTENT * height <= max(y1 - y0, x1 - x0) <= MAX_UNREAD_EXTENT * height
        count += in_row and is_writing and not any(_covers(glyph, placed) for glyph in glyphs)
    return count


def _covers(glyph: Glyph, component: Component) -> bool:
    """Whether a glyph's box covers enough of a component's."""
    top, left, bottom, right = component.bbox
    across = min(glyph.box[2], right) - max(glyph.box[0], left)
    down = min(glyph.box[3], bottom) - max(glyph.box[1], top)
    return bool(across > 0 and down > 0 and across * down > MIN_COVERED * (bottom - top) * (right - left))


def _boxes(glyphs: Sequence[Glyph]) -> np.ndarray:
    return np.array([glyph.box for glyph in glyphs]).reshape(-1, 4)


def _shapes(count: int) -> str:
    return "1 shape" if count == 1 else f"{count} shapes"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
