"""How well digits are found and read on synthetic pages that no training has seen; the record of a training."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import joblib
import numpy as np

from digit_recognizer.data import pages
from digit_recognizer.data.digits import Digits, Split
from digit_recognizer.page_reader import detection
from digit_recognizer.page_reader.detection import Glyph
from digit_recognizer.page_reader.network import PageNet
from digit_recognizer.page_reader.reader import PageReader, of_network
from digit_recognizer.recipes.page_reader import OTHER, PageRecipe
from digit_recognizer.runtime import provenance

FORMAT = 1
PAGE_SEED = 1_000_000  # of pages to measure on; those of a training have the training's seed
PAGE_COUNT, PAGE_SIDE = 300, 384
EMPTY_COUNT, EMPTY_SIDE = 500, 480
MIN_SIZE, MAX_SIZE = 13, 84  # pixels, longest side of digits that are counted
MIN_IOU = 0.4  # of a found box and the true one


class Count(NamedTuple):
    """Of digits that are wholly visible: all, those found, and those found and classified correctly."""

    digits: int
    found: int
    correct: int


def count_digits(reader: PageReader, source: Split, indices: Iterable[int]) -> Count:
    """Count the digits of the synthetic pages of these indices that are found and read."""
    total, found, correct = 0, 0, 0
    for index in indices:
        page = pages.make_page(source, PAGE_SEED, index, PAGE_SIDE)
        glyphs = find_sure_glyphs(reader, page.image)
        counted = _can_be_read(page)
        for box, label in zip(page.boxes[counted], page.labels[counted], strict=True):
            total += 1
            near = [glyph for glyph in glyphs if detection.iou(box.tolist(), glyph.box) >= MIN_IOU]
            found += bool(near)
            correct += any(int(glyph.probabilities.argmax()) == label for glyph in near)
    return Count(total, found, correct)


def count_empty(reader: PageReader, source: Split, indices: Iterable[int]) -> int:
    """How many of the photographs of empty paper of these indices are given a digit."""
    wrong = 0
    for index in indices:
        page = pages.make_page(source, PAGE_SEED + 1, index, EMPTY_SIDE, empty=True)
        wrong += any(glyph.probabilities.argmax() != OTHER for glyph in find_sure_glyphs(reader, page.image))
    return wrong


def readable_pages(source: Split, seed: int, indices: Iterable[int]) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Those of the synthetic pages all of whose glyphs are digits that can be read: images, and their rows."""
    for index in indices:
        page = pages.make_page(source, seed, index, PAGE_SIDE)
        if len(page.labels) and _can_be_read(page).all():
            yield page.image, ["".join(map(str, page.labels[page.rows == row])) for row in np.unique(page.rows)]


def can_be_found(page: pages.Page) -> np.ndarray:
    """Which of a page's glyphs are visible and of a size that is to be found: bool (n,)."""
    longest = (page.boxes[:, 2:] - page.boxes[:, :2]).max(1, initial=0)
    return page.visible & (longest >= MIN_SIZE) & (longest <= MAX_SIZE)


def _can_be_read(page: pages.Page) -> np.ndarray:
    """Which of a page's glyphs are digits that can be found."""
    return can_be_found(page) & (page.labels != OTHER)


def find_sure_glyphs(reader: PageReader, image: np.ndarray) -> list[Glyph]:
    """The glyphs of an image, uint8 (height, width), that are sure enough to be read."""
    found = detection.find_glyphs(reader.compute_maps, image.astype(np.float32) / 255)
    return [glyph for glyph in found if glyph.score >= detection.MIN_READ_SCORE]


def in_parts(function: Callable[..., Any], reader: PageReader, source: Split, count: int, workers: int) -> list[Any]:
    """What a function says of the pages from 0 to the count, by that many processes, each with a part of them."""
    parts = [range(first, count, workers) for first in range(workers)]
    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        return joblib.Parallel()(joblib.delayed(function)(reader, source, part) for part in parts)


def describe(
    recipe: PageRecipe, digits: Digits, seed: int, model: PageNet, history: list[dict[str, float]], workers: int = 1
) -> dict[str, Any]:
    """Everything about a finished training, in plain types. workers: processes that measure it."""
    source, reader = digits.validation or digits.test, of_network(model)
    counts = in_parts(count_digits, reader, source, PAGE_COUNT, workers)
    empty = sum(in_parts(count_empty, reader, source, EMPTY_COUNT, workers))
    return {
        "format": FORMAT,
        "recipe": recipe.name,
        "settings": recipe.settings,
        "seed": seed,
        "dataset": digits.name,
        "md5": dict(digits.md5),
        "synthetic_pages": {"pages": PAGE_COUNT, **Count(*map(sum, zip(*counts, strict=True)))._asdict()},
        "empty_pages": {"pages": EMPTY_COUNT, "given_a_digit": empty},
        "history": history,
        "seconds": sum(metrics["seconds"] for metrics in history),
        "weights": provenance.weights_hash(model),
        "made_with": provenance.collect(model, recipe.precision),
    }


def summary(record: dict[str, Any]) -> str:
    """The result of a training in two lines."""
    written, empty = record["synthetic_pages"], record["empty_pages"]
    return (
        f"{written['pages']} synthetic pages of held-out digits, n = {written['digits']:,}: "
        f"{written['found'] / written['digits']:.2%} found, {written['correct'] / written['digits']:.2%} read\n"
        f"{empty['pages']} synthetic photographs of empty paper: {empty['given_a_digit']} given a digit"
    )
