"""Time to read pictures: one digit, a large page, and many pictures by one process and by two.

Photographs are made of MNIST's test digits on ruled and squared paper in uneven light, by the pages' own paper. All is
read on one core, warm, by the networks in the package; a page from its file, by a process that does nothing else, whose
peak of memory is measured. Many pictures are read by whole commands, start included, in turn.

`python -m benchmarks.reading_time FILE ROUNDS` is that process.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import harness
from digit_recognizer.cli.parser import Parser, positive, run_main

DIGITS, SIDE, HEIGHT = 50, 480, 160  # photographs of one digit; pixels of each, and of the digit
PAGE, ROWS, COLUMNS = (3000, 4000), 5, 10  # height and width of the page, and its digits
PICTURES, PICTURE = 400, (1200, 1600)  # photographs that whole commands read; height and width of each
WORKERS = 2


def run(out: str | Path, data_dir: str | Path | None = None, rounds: int = 5) -> None:
    """Time all of it; saved in out/benchmark.json under "reading_time"."""
    harness.check_writable(out)
    from digit_recognizer import data
    from digit_recognizer.runtime import provenance

    digits = data.load("mnist", data_dir).test
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.jpg"
        places = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
        Image.fromarray(make_picture(digits, places, PAGE, HEIGHT, 0)).save(path, quality=90)
        page = harness.run_in_process("a page", "reading_time", path, rounds)
    result: dict[str, Any] = {
        "one_digit_milliseconds": time_digits(digits, rounds),
        "page_milliseconds": page["milliseconds"],
        "page_megabytes": page["megabytes"],
        "commands": time_commands(digits, rounds),
        "md5": data.load("mnist", data_dir).md5,
        "made_with": provenance.collect(None),
    }
    harness.save_results(out, {"reading_time": result})
    print(table(result))


def make_picture(digits: Any, places: np.ndarray, shape: tuple[int, int], height: int, seed: int) -> np.ndarray:
    """A photograph, uint8, of digits in rows on printed paper. places: int (rows, columns), indices of the digits."""
    from digit_recognizer.data import paper

    random = np.random.default_rng(seed)
    ink = np.zeros(shape, np.float32)
    down, across = shape[0] // len(places), shape[1] // len(places[0])
    for row, indices in enumerate(places):
        for column, index in enumerate(indices):
            large = Image.fromarray(digits.images[index].numpy()).resize((height, height), Image.Resampling.BICUBIC)
            top, left = row * down + (down - height) // 2, column * across + (across - height) // 2
            ink[top : top + height, left : left + height] = np.asarray(large, np.float32) / 255
    page = paper.draw_blank(shape, random) * (1 - 0.4 * paper.draw_lines(shape, height, 0.0, random))
    page = page * paper.draw_light(shape, random) * (1 - 0.7 * ink)
    return paper.photograph(page.astype(np.float32), random)


def time_digits(digits: Any, rounds: int) -> list[float]:
    """Milliseconds of one reading, of each round: the median of the photographs."""
    from digit_recognizer.recognition.recognizer import Recognizer

    pictures = [make_picture(digits, np.array([[index]]), (SIDE, SIDE), HEIGHT, index) for index in range(DIGITS)]
    recognizer = Recognizer()
    recognizer.predict(pictures[0])
    medians = []
    for _ in range(rounds):
        times = []
        for picture in pictures:
            start = time.perf_counter()
            recognizer.predict(picture)
            times.append(time.perf_counter() - start)
        medians.append(1000 * statistics.median(times))
    return medians


def time_page(path: str, rounds: int) -> dict[str, Any]:
    """A page, read in this process: milliseconds of each round, and the peak of the memory in megabytes."""
    from digit_recognizer.recognition.recognizer import Recognizer

    recognizer, times = Recognizer(), []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        recognizer.read_number(path)
        times.append(1000 * (time.perf_counter() - start))
    return {"milliseconds": times[1:], "megabytes": harness.peak_mb()}


def time_commands(digits: Any, rounds: int, count: int = PICTURES) -> dict[str, Any]:
    """Seconds of `digits predict` for a folder of photographs, with one process and with two, of each round."""
    seconds: dict[str, list[float]] = {"1": [], str(WORKERS): []}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            picture = make_picture(digits, np.array([[index]]), PICTURE, 3 * HEIGHT, index)
            Image.fromarray(picture).save(Path(folder) / f"{index:03}.jpg", quality=90)
        for _ in range(rounds):
            for workers, times in seconds.items():
                command = [sys.executable, "-m", "digit_recognizer", "predict", folder, "--workers", workers, "--json"]
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                times.append(time.perf_counter() - start)
    return {"pictures": count, "seconds_by_workers": seconds}


def table(result: dict[str, Any]) -> str:
    """A result as text."""
    one, two = result["commands"]["seconds_by_workers"].values()
    gain = [first / second for first, second in zip(one, two, strict=True)]
    return "\n".join(
        [
            f"one digit, milliseconds: {harness.format_spread(result['one_digit_milliseconds'])}",
            f"page of {ROWS * COLUMNS} digits, milliseconds: {harness.format_spread(result['page_milliseconds'])}; "
            f"megabytes: {result['page_megabytes']:.0f}",
            f"{result['commands']['pictures']} pictures, seconds: {harness.format_spread(one)}; with {WORKERS} "
            f"processes: {harness.format_spread(two)}; times as fast: {harness.format_spread(gain)}",
        ]
    )


def main() -> None:
    """Time the page alone, and print it as JSON."""
    parser = Parser(prog="python -m benchmarks.reading_time", description=__doc__)
    parser.add_argument("path", metavar="FILE")
    parser.add_argument("rounds", metavar="ROUNDS", type=positive)
    options = parser.parse_args()
    print(json.dumps(time_page(options.path, options.rounds)))


if __name__ == "__main__":
    run_main(main)
