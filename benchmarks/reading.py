"""Measure how pictures are read: synthetic pages, touching digits, empty paper, and strangers' pictures if given.

    python -m benchmarks.reading --pictures DIR DIR ...

Synthetic pages hold MNIST's validation digits, touching pairs its test digits; neither was trained on. DIR holds
pictures of strangers with digits.csv (file, label, group), multi.csv (file, label, rows split by /) and nondigits.csv
(file, what); they are not part of this project. The record is results/reading.json. It takes a quarter of an
hour with two processes.
"""

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from PIL import Image

from digit_recognizer.cli.parser import Parser, add_data_dir, positive, run_main

SEED = 2_000_000  # of pages and pairs that nothing was chosen on
EMPTY_SIDE = 480  # pixels
TURNS = (-10, -5, 5, 10)  # degrees
COUNTS = {"pages": 10_000, "pairs": 10_000, "empty": 500}
QUICK = {"pages": 30, "pairs": 20, "empty": 5}
BINS = 10  # of equal count, in the calibration error of numbers


class Pair(NamedTuple):
    """Two digits that touch or overlap. image: uint8 (height, width), dark on light; text: both digits."""

    image: np.ndarray
    text: str


def main() -> None:
    """Measure, print and save."""
    options = _parse()
    from digit_recognizer import records
    from digit_recognizer.runtime import device, provenance

    device.choose_device("cpu", 1)
    parts = ("synthetic_rows", "touching_pairs", "empty_paper", *options.pictures)
    jobs = (joblib.delayed(measure)(part, options.data_dir, options.quick) for part in parts)
    rows, pairs, empty, *pictures = joblib.Parallel(n_jobs=options.workers)(jobs)
    record: dict[str, Any] = {
        "synthetic_rows": rows,
        "touching_pairs": pairs,
        "empty_paper": empty,
        "pictures": pictures,
        "made_with": provenance.collect(None),
    }
    print(json.dumps(record, indent=1))
    if not options.quick:
        records.save(Path(options.out) / "reading.json", record)


def measure(part: str, data_dir: str | None, quick: bool) -> dict[str, Any]:
    """One part of the record, in any process: its name, or a folder of strangers' pictures."""
    from digit_recognizer import data
    from digit_recognizer.recognition.recognizer import Recognizer

    recognizer, counts = Recognizer(), QUICK if quick else COUNTS
    if part not in ("synthetic_rows", "touching_pairs", "empty_paper"):
        return measure_pictures(recognizer, Path(part))
    digits = data.load("mnist", data_dir, validation=True)
    if part == "synthetic_rows":
        return measure_rows(recognizer, digits.validation, counts["pages"])
    if part == "touching_pairs":
        return measure_pairs(recognizer, digits.test, counts["pairs"])
    return measure_empty(recognizer, digits.validation, counts["empty"])


def _parse() -> argparse.Namespace:
    parser = Parser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument("--pictures", metavar="DIR", nargs="+", default=[], help="folders of strangers' pictures")
    parser.add_argument("--workers", metavar="N", type=positive, default=1, help="processes (default: 1)")
    parser.add_argument("--quick", action="store_true", help="few of everything, and nothing is written")
    parser.add_argument("--out", metavar="DIR", default="results", help="folder of reading.json (default: results)")
    add_data_dir(parser)
    return parser.parse_args()


# synthetic pages


def measure_rows(recognizer: Any, source: Any, count: int) -> dict[str, Any]:
    """Pages of rows that can be read: all of it right; and the calibration of the confidence in that."""
    from digit_recognizer.page_reader import measurement

    confidences, correct, warned = [], [], 0
    for image, rows in measurement.readable_pages(source, SEED, range(count)):
        number = recognizer.read_number(image)
        is_right = list(number.rows) == rows
        confidences.append(number.confidence)
        correct.append(is_right)
        warned += not is_right and ("?" in number.number or bool(number.unread))
    return {
        "pages": len(correct),
        "right": sum(correct),
        "wrong_with_a_warning": warned,
        "calibration_error": calibration_error(np.array(confidences), np.array(correct)),
    }


def calibration_error(confidences: np.ndarray, correct: np.ndarray) -> float:
    """|mean confidence - share that is right|, averaged over bins of equal count: a fraction."""
    parts = np.array_split(np.argsort(confidences), BINS)
    return float(
        sum(abs(confidences[part].mean() - correct[part].mean()) * len(part) for part in parts if len(part))
        / len(correct)
    )


# touching digits


def make_pairs(source: Any, count: int) -> Iterator[Pair]:
    """Pairs of digits of about one height, pushed together until their strokes touch or overlap."""
    random = np.random.default_rng(SEED)
    for _ in range(count):
        height, chosen = random.uniform(32, 64), random.integers(0, len(source.labels), 2)
        first, second = (_resize(source.images[index].numpy(), height * random.uniform(0.85, 1.15)) for index in chosen)
        lower = int((first.shape[0] - second.shape[0]) / 2 + random.normal(0, 0.05) * height)
        overlap = random.uniform(0, 0.15) * height
        left = _touching(first, second, lower) - int(overlap)
        margin = int(height / 2)
        sheet = np.zeros(
            (int(2.4 * height) + margin, max(first.shape[1], left + second.shape[1]) + 2 * margin), np.float32
        )
        for strength, x, y in ((first, margin, margin), (second, margin + max(0, left), margin + lower)):
            here = sheet[y : y + strength.shape[0], x : x + strength.shape[1]]
            np.maximum(here, strength, out=here)
        text = "".join(str(int(source.labels[index])) for index in chosen)
        yield Pair((255 - 255 * sheet).astype(np.uint8), text)


def _resize(image: np.ndarray, height: float) -> np.ndarray:
    """The digit alone, that high: float32, 0 background to 1."""
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    digit = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = height / len(digit)
    size = max(3, min(round(digit.shape[1] * scale), round(1.5 * height))), round(height)
    return np.asarray(Image.fromarray(digit).resize(size, Image.Resampling.BICUBIC), np.float32) / 255


def _touching(first: np.ndarray, second: np.ndarray, lower: int) -> int:
    """Columns from the first digit's left to the second's, so that their strokes just touch."""
    ends = {y: int(np.flatnonzero(row)[-1]) for y, row in enumerate(first > 0.5) if row.any()}
    starts = {y + lower: int(np.flatnonzero(row)[0]) for y, row in enumerate(second > 0.5) if row.any()}
    common = ends.keys() & starts.keys()
    return max((ends[y] - starts[y] + 1 for y in common), default=first.shape[1])


def measure_pairs(recognizer: Any, source: Any, count: int) -> dict[str, int]:
    """Touching pairs that are read exactly."""
    right = sum(list(recognizer.read_number(pair.image).rows) == [pair.text] for pair in make_pairs(source, count))
    return {"pairs": count, "right": right}


# empty paper


def measure_empty(recognizer: Any, source: Any, count: int) -> dict[str, int]:
    """Synthetic photographs of paper without writing that are given a digit, or a number."""
    from digit_recognizer.data import pages

    images = [pages.make_page(source, SEED + 1, index, EMPTY_SIDE, empty=True).image for index in range(count)]
    digit = sum(recognizer.predict(image).digit is not None for image in images)
    number = sum(bool(recognizer.read_number(image).rows) for image in images)
    return {"pictures": count, "given_a_digit": digit, "given_a_number": number}


# strangers' pictures


def measure_pictures(recognizer: Any, folder: Path) -> dict[str, Any]:
    """Pictures of one digit by group, numbers and rows, upright and turned, and pictures without a digit."""
    return {
        "digits": measure_digits(recognizer, folder),
        "numbers": measure_numbers(recognizer, folder),
        "without_a_digit": measure_others(recognizer, folder),
    }


def read_table(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of a table of strangers' pictures."""
    return list(csv.DictReader((folder / name).read_text(encoding="utf-8").splitlines()))


def measure_digits(recognizer: Any, folder: Path) -> dict[str, Any]:
    """Pictures of one digit: read by `predict`, by group, and the wrong ones by name."""
    groups: dict[str, list[int]] = {}
    wrong = {}
    for row in read_table(folder, "digits.csv"):
        prediction = recognizer.predict(folder / row["file"])
        is_right = str(prediction.digit) == row["label"]
        counts = groups.setdefault(row["group"], [0, 0])
        counts[0] += is_right
        counts[1] += 1
        if not is_right:
            wrong[row["file"]] = (
                f"{row['label']} as {prediction.digit} ({prediction.reason or round(prediction.confidence, 3)})"
            )
    right, count = np.sum(list(groups.values()), axis=0).tolist()
    mean = float(np.mean([one / all_ for one, all_ in groups.values()]))
    return {"right": right, "pictures": count, "mean_over_groups": mean, "groups": groups, "wrong": wrong}


def measure_numbers(recognizer: Any, folder: Path) -> dict[str, Any]:
    """Pictures of several digits: all rows exactly, rows, and those read right also when turned."""
    right, rows, row_count, silent, wrong = 0, 0, 0, [], {}
    turned, turned_count = 0, 0
    table = read_table(folder, "multi.csv")
    for row in table:
        wanted = row["label"].split("/")
        number = recognizer.read_number(folder / row["file"])
        got = list(number.rows)
        rows += sum(each in got for each in wanted)
        row_count += len(wanted)
        if got != wanted:
            wrong[row["file"]] = (
                f"{'/'.join(wanted)} as {'/'.join(got)} ({number.confidence:.3f}; {'; '.join(number.unread)})"
            )
            if "?" not in number.number and not number.unread and number.confidence > 0.9:
                silent.append(row["file"])
            continue
        right += 1
        for picture in turn(Image.open(folder / row["file"])):
            turned += list(recognizer.read_number(picture).rows) == wanted
            turned_count += 1
    return {
        "right": right, "pictures": len(table), "rows_right": rows, "rows": row_count, "sure_and_wrong": silent,
        "turned_right": turned, "turned": turned_count, "wrong": wrong,
    }  # fmt: skip


def turn(image: Image.Image) -> Iterator[Image.Image]:
    """A picture turned by TURNS, what is new beside it filled with its usual colour."""
    image = image.convert("RGBA").convert("RGB") if image.mode in ("P", "LA", "RGBA") else image.convert("RGB")
    fill = tuple(int(value) for value in np.median(np.asarray(image).reshape(-1, 3), axis=0))
    for degrees in TURNS:
        yield image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)


def measure_others(recognizer: Any, folder: Path) -> dict[str, Any]:
    """Pictures without a digit that are given one, or a number, by what they show."""
    kinds: dict[str, list[int]] = {}
    for row in read_table(folder, "nondigits.csv"):
        counts = kinds.setdefault(row["what"], [0, 0, 0])
        counts[0] += recognizer.predict(folder / row["file"]).digit is not None
        counts[1] += bool(recognizer.read_number(folder / row["file"]).rows)
        counts[2] += 1
    digit, number, count = np.sum(list(kinds.values()), axis=0).tolist()
    return {"given_a_digit": digit, "given_a_number": number, "pictures": count, "kinds": kinds}


if __name__ == "__main__":
    run_main(main)
