"""What glyphs are, in rows of digits, that the network of single digits refuses: digits, other signs, or nothing.

    python -m benchmarks.trials.refused_glyphs

The pages are synthetic, of MNIST's validation digits, some with signs among the digits, in no row more of these. The
record is results/trials/refused_glyphs.json; docs/experiments.md tells it. It takes ten minutes with one thread.
"""

import collections
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import harness
from digit_recognizer.cli.parser import Parser, positive, run_main

PAGE_SEED, PAGES = 5_000_000, 4000
LIMITS = (0.4, 0.5, 0.6, 0.7, 0.85)  # of the probability that a glyph is no digit, as PageNet sees it


def main() -> None:
    """Read the pages, count the refused glyphs by what they are; print and save."""
    parser = Parser(prog="python -m benchmarks.trials.refused_glyphs", description=__doc__)
    parser.add_argument(
        "--pages", metavar="N", type=positive, default=PAGES, help="synthetic pages (default: %(default)s)"
    )
    options = harness.parse_trial(parser)

    from digit_recognizer import data, records
    from digit_recognizer.recognition.recognizer import Recognizer
    from digit_recognizer.runtime import device, provenance

    device.choose_device("cpu", 1)
    source, recognizer = data.load("mnist", options.data_dir, validation=True).validation, Recognizer.load()
    count, refused = 0, []
    for page in pages_with_rows(source, range(options.pages)):
        count += 1
        refused += _refused(recognizer, page)
    kinds = {}
    for limit in LIMITS:
        kinds[f"at most {limit}"] = dict(collections.Counter(kind for other, kind in refused if other <= limit))
        print(f"no digit at most {limit}: {kinds[f'at most {limit}']}", flush=True)
    record = {"pages": count, "refused": kinds, "made_with": provenance.collect(None)}
    records.save(Path(options.out) / "trials" / "refused_glyphs.json", record)


def pages_with_rows(source: Any, indices: Iterable[int]) -> Iterator[Any]:
    """Synthetic pages all of whose glyphs can be found, with no more signs than digits in any row."""
    from digit_recognizer.data import pages
    from digit_recognizer.page_reader import measurement
    from digit_recognizer.recipes.page_reader import OTHER

    for index in indices:
        page = pages.make_page(source, PAGE_SEED, index, measurement.PAGE_SIDE)
        rows = [page.labels[page.rows == row].tolist() for row in set(page.rows.tolist())]
        if rows and measurement.can_be_found(page).all() and all(2 * row.count(OTHER) <= len(row) for row in rows):
            yield page


def _refused(recognizer: Any, page: Any) -> list[tuple[float, str]]:
    """Of each refused glyph in a row of which half or more is read: PageNet's probability of no digit, what it is."""
    from digit_recognizer.preprocessing.page import analyze
    from digit_recognizer.recipes.page_reader import OTHER
    from digit_recognizer.recognition import page_reading

    analyzed, glyphs = page_reading.find(analyze(page.image), recognizer.page_reader)
    return [
        (float(reading.glyph.probabilities[OTHER]), _kind(page, reading))
        for row in page_reading.find_rows(analyzed, glyphs, recognizer.read)
        for reading in row
        if reading.prediction.digit is None and 2 * sum(each.prediction.digit is None for each in row) <= len(row)
    ]


def _kind(page: Any, reading: Any) -> str:
    """What is on the page where a glyph was found, and whether the likeliest digit is right."""
    from digit_recognizer.page_reader import detection, measurement
    from digit_recognizer.recipes.page_reader import OTHER

    overlaps = [detection.iou(box, reading.glyph.box) for box in page.boxes.tolist()]
    place = max(range(len(overlaps)), key=overlaps.__getitem__)
    if overlaps[place] < measurement.MIN_IOU:
        return "nothing, or a part"
    if page.labels[place] == OTHER:
        return "another sign"
    probabilities = reading.prediction.probabilities
    return "a digit, right" if probabilities.index(max(probabilities)) == page.labels[place] else "a digit, wrong"


if __name__ == "__main__":
    run_main(main)
