"""Read the digits of a page: PageNet finds them, and the network of single digits reads each of them again."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from digit_recognizer.page_reader import detection, rows
from digit_recognizer.page_reader.detection import Glyph
from digit_recognizer.page_reader.reader import PageReader
from digit_recognizer.preprocessing.components import Component
from digit_recognizer.preprocessing.page import Page, PreprocessedDigit
from digit_recognizer.recipes.page_reader import OTHER
from digit_recognizer.recognition.prediction import BLANK, SEVERAL, UNLIKE, Number, Prediction
from digit_recognizer.runtime.errors import UserError

# Greatest probability that a digit is none, as PageNet sees it, by what the network of single digits says of it.
MAX_OTHER = 0.85
MAX_OTHER_REFUSED = 0.3  # where it refuses it
MIN_UNDISPUTED = 0.98  # confidence of the network of single digits, from which on it is believed
WEIGHT = 0.5  # of the network of single digits in the logarithmic probabilities; PageNet has the rest
MIN_FAINT = 0.3  # score of a glyph that is read because both networks are sure of it, beside clearer ones
MIN_CONFIRMED = 0.99  # confidence of both together, which a faint glyph needs
MIN_TRACE = 0.15  # score of a glyph; what has less holds no writing, even where the network of single digits is sure
MIN_CLEAR_TRACE = 0.5  # the same where it is not, or at the picture's edge: what lies beside a page looks like strokes
MAX_AT_EDGE = 0.4  # of the picture, the box of such a shape; what fills more of it is what the picture was cut to
MIN_CUT_OUT = 0.8  # of the picture, the box of a digit that the picture was cut to
MIN_EVIDENCE = 0.5  # of a row: mean of the score times the probability of the two likeliest digits
MIN_CLEAR_SCORE = 0.55  # of a glyph that a person would see
MAX_BESIDE = 2  # such glyphs, and the digit is one of them; among more signs it is likely one, too
MIN_SURE = 0.6  # score of a glyph that is read although it is not what stands out on the page
MIN_DISSENT = 0.5  # probability of another digit, with which PageNet's reading is said
MIN_SAME = 0.5  # intersection over union of two boxes of the same digit
MIN_NEAR = 0.1  # the same, of a box that may hold the digit
MAX_PART = 0.3  # the same, of a digit in a shape that was refused; more of it is a part of a letter
SMALL = 22  # pixels, longest side of digits, below which a page is enlarged if it can be
TELLING = (2, 3, 4, 5, 6, 7, 9)  # digits that tell how a page lies: a turned 1 is a dash
MIN_TURNED = 3  # such digits; fewer are not enough
SURE = 0.7  # mean probability of the digits, above which a page lies upright
TURN_GAIN = 1.3  # times the evidence of digits that a turned page must give
MIN_IN_LINE = 3  # glyphs, from which on their rows have a slope
MIN_SLOPE = 8  # degrees, from which on digits are turned back before they are read again
PART_OF_SLOPE = 0.75  # by which they are: digits may stand upright in a row that slopes
MAX_HEIGHT = 3.0  # of a digit, in those of its row; what is higher is an edge or a shadow
MIN_UNREAD_EXTENT = 0.4  # of a row's height, from which on a shape in it is writing
MAX_UNREAD_EXTENT = 2.0  # of the same; what is larger is an edge or a shadow
MAX_INCOMPLETE = 0.89  # confidence in a number beside which shapes were not read: it is not sure, whatever was read
MIN_COVERED = 0.4  # of a shape, by the boxes of glyphs that were found

ReadDigits = Callable[[Sequence[PreprocessedDigit]], list[Prediction]]


class Reading(NamedTuple):
    """A glyph and what both networks read in it."""

    glyph: Glyph
    prediction: Prediction

    @property
    def character(self) -> str:
        """The digit, or "?"."""
        return "?" if self.prediction.digit is None else str(self.prediction.digit)


def read(page: Page, reader: PageReader, read_digits: ReadDigits) -> Number:
    """Read the digits of a row, or of rows. Rows of which more than half is not like a digit are left out.

    reader: finds the digits. read_digits: the network of single digits; see Recognizer.read.
    """
    page, glyphs = find(page, reader)
    found = find_rows(page, glyphs, read_digits)
    glyphs = [reading.glyph for reading in itertools.chain.from_iterable(found)]
    kept: list[list[Reading]] = []
    unread: list[str] = []
    unread_count, left_out = 0, 0
    for found_row in found:
        row = _without_edges(found_row)
        left_out += len(found_row) - len(row)
        missing = sum(reading.character == "?" for reading in row)
        if not _is_writing(row) and _is_grain(row):
            continue
        if not _is_writing(row) or 2 * missing > len(row):
            left_out += len(row)
            continue
        kept.append(row)
        dropped = _count_unread(page, [reading.glyph for reading in row], glyphs)
        unread_count += dropped
        if dropped:
            unread.append(f"{_shapes(dropped)} in row {len(kept)} {_was(dropped)} not read")
    if left_out:
        digits = "that is not like a digit was" if left_out == 1 else "that are not like digits were"
        unread.append(f"{_shapes(left_out)} {digits} left out")
    readings = list(itertools.chain.from_iterable(kept))
    features = confidence_features(readings, unread_count + left_out) if kept else ()
    return Number(
        reason=None if kept else (UNLIKE if left_out else BLANK),
        rows=tuple("".join(reading.character for reading in row) for row in kept),
        numbers=tuple(_split(row) for row in kept),
        predictions=tuple(
            reading.prediction._replace(preprocessed=reading.prediction.preprocessed._replace(row=number))
            for number, row in enumerate(kept)
            for reading in row
        ),
        confidence=_confidence(features, reader.calibration) if kept else 0.0,
        page=page,
        unread=tuple(unread),
        features=features,
    )


def find_rows(page: Page, glyphs: list[Glyph], read_digits: ReadDigits) -> list[list[Reading]]:
    """The glyphs by row, each read by both networks; without faint ones of which they are not sure."""
    readings = [reading for reading in read_glyphs(page, glyphs, glyphs, read_digits) if _is_clear(reading)]
    return [[readings[index] for index in row] for row in rows.find_rows(_boxes([each.glyph for each in readings]))]


def _is_clear(reading: Reading) -> bool:
    """Whether a glyph is not faint, or is a digit of which both networks are sure."""
    prediction = reading.prediction
    is_confirmed = prediction.digit is not None and prediction.confidence >= MIN_CONFIRMED
    return reading.glyph.score >= detection.MIN_READ_SCORE or is_confirmed


def _is_writing(row: list[Reading]) -> bool:
    """Whether a row is more than what PageNet sees at times in a texture: all faint, or not much like any digit.

    A glyph that may be one of two digits is as much writing as a sure one.
    """
    evidence = [reading.glyph.score * sum(sorted(reading.prediction.probabilities)[-2:]) for reading in row]
    return bool(_clear([reading.glyph for reading in row]) and np.mean(evidence) >= MIN_EVIDENCE)


def _without_edges(row: list[Reading]) -> list[Reading]:
    """A row without what is far higher than its other digits: the edge of a page, or a shadow along it."""
    heights = [reading.glyph.box[3] - reading.glyph.box[1] for reading in row]
    highest = MAX_HEIGHT * float(np.median(heights))
    return [reading for reading, height in zip(row, heights, strict=True) if height <= highest]


def _is_grain(row: list[Reading]) -> bool:
    """Whether a row that is no writing is so faint that nobody would take it for any."""
    return bool(np.mean([reading.glyph.score for reading in row]) < MIN_CLEAR_SCORE)


def _split(row: list[Reading]) -> tuple[str, ...]:
    """The numbers of a row as text."""
    numbers = rows.split_numbers(_boxes([reading.glyph for reading in row]))
    return tuple("".join(row[place].character for place in places) for places in numbers)


def confidence_features(readings: Sequence[Reading], unread: int) -> tuple[float, ...]:
    """What tells how likely a number is right.

    They are 1, the log-odds of all digits being right if their confidences were independent, the logarithm of the least
    score of a glyph, and three that are 0 or 1: shapes were not read, PageNet reads another digit in a glyph, a glyph
    is "?". unread: how many shapes.
    """
    product = float(np.prod([reading.prediction.confidence for reading in readings]))
    product = min(max(product, 1e-6), 1 - 1e-6)
    digits = [(reading.glyph.probabilities[:OTHER].argmax(), reading.prediction.digit) for reading in readings]
    return (
        1.0,
        math.log(product / (1 - product)),
        math.log(min(reading.glyph.score for reading in readings)),
        float(unread > 0),
        float(any(digit not in (None, other) for other, digit in digits)),
        float(any(digit is None for _, digit in digits)),
    )


def _confidence(features: Sequence[float], weights: Sequence[float] | None) -> float:
    """The probability that a number is right. weights: fitted by recognition.calibration; else the product itself."""
    if weights and len(weights) != len(features):
        raise UserError("this page reader is of another version; train it again: digits train --recipe page_reader")
    confidence = 1 / (1 + math.exp(-float(np.dot(features, weights or (0, 1, 0, 0, 0, 0)))))
    _, _, _, shapes_unread, _, glyphs_unread = features
    return min(confidence, MAX_INCOMPLETE) if shapes_unread or glyphs_unread else confidence


def find(page: Page, reader: PageReader) -> tuple[Page, list[Glyph]]:
    """Find the glyphs of a page that are sure enough to be read, and faint ones beside them.

    The page is enlarged where its digits are small or none is found, and turned where they lie on their side or upside
    down.
    """
    glyphs = find_glyphs(page, reader, MIN_FAINT)
    if not _clear(glyphs) or np.median([_longest(glyph) for glyph in _clear(glyphs)]) < SMALL:
        larger = page.enlarge()
        found = find_glyphs(larger, reader, MIN_FAINT) if larger else []
        if larger and _evidence(_clear(found)) > _evidence(_clear(glyphs)):
            page, glyphs = larger, found
    clear = _clear(glyphs)
    if len(clear) >= MIN_TURNED and _evidence(clear) < SURE * len(clear):
        turned = [page.turn(quarters) for quarters in (1, 2, 3)]
        all_found = [find_glyphs(each, reader, MIN_FAINT) for each in turned]
        best = max(range(3), key=lambda index: _evidence(_clear(all_found[index]), TELLING))
        evidence = _evidence(_clear(all_found[best]), TELLING)
        if evidence > max(MIN_TURNED * SURE, TURN_GAIN * _evidence(clear, TELLING)):
            page, glyphs = turned[best], all_found[best]
    return page, glyphs if _clear(glyphs) else []


def _clear(glyphs: list[Glyph]) -> list[Glyph]:
    """Those that are not faint."""
    return [glyph for glyph in glyphs if glyph.score >= detection.MIN_READ_SCORE]


def _longest(glyph: Glyph) -> float:
    left, top, right, bottom = glyph.box
    return max(right - left, bottom - top)


def find_glyphs(page: Page, reader: PageReader, min_score: float) -> list[Glyph]:
    """The glyphs of a page with at least this score, the surest first."""
    return [glyph for glyph in detection.find_glyphs(reader.compute_maps, page.grey) if glyph.score >= min_score]


def check(page: Page, prediction: Prediction, reader: PageReader, read_digits: ReadDigits) -> Prediction:
    """Hold the reading of a page as one digit against what PageNet finds on it, and return the better one.

    Where PageNet sees a glyph in the same place, the prediction stays; it is refused where PageNet takes the glyph for
    a letter and the prediction is not sure. Where PageNet finds one digit elsewhere, that one is read. Where it finds
    nothing that the prediction might be, there is none.
    """
    top, left, bottom, right = prediction.preprocessed.component.bbox
    box, size = (left, top, right, bottom), max(bottom - top, right - left)
    if prediction.digit is not None:
        clear = _find_around(page, box, size, reader)
        same = [glyph for glyph in clear if detection.iou(box, glyph.box) >= MIN_SAME]
        if same:
            is_digit = _is_digit(same[0], prediction)
            return _warn(prediction, same[0]) if is_digit else prediction._replace(digit=None, reason=UNLIKE)
    glyphs = find_glyphs(page, reader, MIN_TRACE)
    is_sure = prediction.confidence >= MIN_UNDISPUTED
    least = MIN_TRACE if is_sure and not _is_at_edge(page, box) else MIN_CLEAR_TRACE
    near = [glyph for glyph in glyphs if glyph.score >= least and detection.iou(box, glyph.box) >= MIN_NEAR]
    if prediction.digit is not None and not near and not (is_sure and _is_cut_out(page, box, prediction.digit, reader)):
        prediction = prediction._replace(digit=None, reason=BLANK)
    if prediction.digit is not None and is_sure:
        return prediction
    clear = [glyph for glyph in glyphs if glyph.score >= MIN_SURE]
    sure = [reading for reading in read_glyphs(page, clear, glyphs, read_digits) if _is_sure_digit(reading)]
    most = MAX_PART if prediction.reason == UNLIKE else MIN_SAME
    if len(sure) == 1 and len(clear) <= MAX_BESIDE and detection.iou(box, sure[0].glyph.box) < most:
        return sure[0].prediction
    if len(sure) > 1 and prediction.reason == BLANK:
        return prediction._replace(reason=SEVERAL)
    return prediction


def _find_around(page: Page, box: Sequence[int], size: int, reader: PageReader) -> list[Glyph]:
    """The clear glyphs of about this size, in pixels, in a box of the page and around it, which saves time."""
    left, top = (max(0, side - size) for side in box[:2])
    around = page.grey[top : box[3] + size, left : box[2] + size]
    found = detection.find_glyphs(reader.compute_maps, around, size)
    shift = np.array([left, top, left, top])
    return [
        dataclasses.replace(glyph, box=tuple((glyph.box + shift).tolist()))
        for glyph in found
        if glyph.score >= MIN_CLEAR_SCORE
    ]


def _is_at_edge(page: Page, box: Sequence[float]) -> bool:
    """Whether a box meets the picture's edge, and does not fill the picture."""
    left, top, right, bottom = box
    height, width = page.grey.shape
    is_near = left <= 1 or top <= 1 or right >= width - 1 or bottom >= height - 1
    return is_near and _part_of_picture(page, box) <= MAX_AT_EDGE


def _part_of_picture(page: Page, box: Sequence[float]) -> float:
    """The area of a box, as a fraction of the picture's."""
    left, top, right, bottom = box
    return (right - left) * (bottom - top) / page.grey.size


def _is_cut_out(page: Page, box: Sequence[int], digit: int, reader: PageReader) -> bool:
    """Whether the picture was cut to this digit: PageNet reads it in the same box once there is paper around it."""
    paper = page.grey[~page.mask]
    if _part_of_picture(page, box) < MIN_CUT_OUT or not len(paper):
        return False
    size = detection.BEST_SIZE
    scale = size / max(page.grey.shape)  # a long picture with paper around it would not fit into memory
    around = np.pad(detection.resize(page.grey, scale), size, constant_values=np.median(paper))
    shifted = [scale * side + size for side in box]
    return any(
        glyph.score >= MIN_SURE
        and glyph.probabilities.argmax() == digit
        and detection.iou(shifted, glyph.box) >= MIN_SAME
        for glyph in detection.find_glyphs(reader.compute_maps, around, size)
    )


def _is_sure_digit(reading: Reading) -> bool:
    """Whether a glyph is read although it is not what stands out on the page."""
    return reading.prediction.digit is not None and _is_writing([reading])


def _warn(prediction: Prediction, glyph: Glyph) -> Prediction:
    """The prediction, with a warning where PageNet rather reads another digit in the same glyph."""
    other = int(glyph.probabilities.argmax())
    if other in (prediction.digit, OTHER) or glyph.probabilities[other] < MIN_DISSENT:
        return prediction
    digit = prediction.preprocessed
    warnings = (*digit.warnings, f"the page reader takes it for {other}")
    return prediction._replace(preprocessed=digit._replace(warnings=warnings))


def _evidence(glyphs: list[Glyph], digits: Sequence[int] = range(10)) -> float:
    """How many of these digits there seem to be, each counted with its probability."""
    return float(sum(glyph.probabilities[list(digits)].max() for glyph in glyphs))


def read_glyphs(page: Page, glyphs: list[Glyph], others: list[Glyph], read_digits: ReadDigits) -> list[Reading]:
    """Read glyphs of a page with both networks. others: all of the page, whose strokes are not theirs."""
    boxes = _boxes(others)
    slope = rows.find_slope(boxes) if len(boxes) >= MIN_IN_LINE else 0.0
    degrees = PART_OF_SLOPE * slope if abs(slope) >= MIN_SLOPE else 0.0
    predictions = read_digits([page.cut(glyph.box, _neighbours(glyph, boxes), degrees) for glyph in glyphs])
    return [Reading(glyph, combine(glyph, each)) for glyph, each in zip(glyphs, predictions, strict=True)]


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
    is_digit = _is_digit(glyph, prediction)
    return prediction._replace(
        digit=int(probabilities.argmax()) if is_digit else None,
        confidence=float(probabilities.max()),
        probabilities=tuple(probabilities.tolist()),
        reason=None if is_digit else UNLIKE,
    )


def _is_digit(glyph: Glyph, prediction: Prediction) -> bool:
    """Whether a glyph is a digit. prediction: of the network of single digits, which is believed where it is sure."""
    if prediction.digit is None:
        return bool(glyph.probabilities[OTHER] <= MAX_OTHER_REFUSED)
    return bool(prediction.confidence >= MIN_UNDISPUTED or glyph.probabilities[OTHER] <= MAX_OTHER)


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
