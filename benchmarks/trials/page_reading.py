"""What the constants of page reading do: each is changed alone, and pages are read again. Nothing is trained.

    python -m benchmarks.trials.page_reading --pictures DIR

The pages are synthetic, of MNIST's validation digits, with pairs of them that touch, and with signs among them; then
scikit-image's photographs without writing. DIR holds strangers' pictures, as benchmarks.reading takes them. The record
is results/trials/page_reading.json; docs/experiments.md tells it. It takes up to an hour with one thread.
"""

import itertools
import math
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import harness, reading
from benchmarks.trials import refused_glyphs
from digit_recognizer.cli.parser import Parser, run_main

PAGES, PAIRS, EMPTY = 2500, 400, 300
# A constant of recognition.page_reading or page_reader.detection, and the values that are tried.
CHANGES = {
    "WEIGHT": (0.35, 1),
    "MIN_READ_SCORE": (0.5,),
    "MIN_FAINT": (0.45,),  # no faint glyph is read
    "MAX_OTHER_REFUSED": (0.85,),
    "MIN_EVIDENCE": (0.4, 0.45, 0.55),
    "PART_OF_SLOPE": (0.5, 1),
    "MAX_HEIGHT": (math.inf,),
    "MIN_CLEAR_TRACE": (0.15,),
    "MIN_SURE": (0.5,),
}
# Of skimage.data.
PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "horse",
    "moon",
    "retina",
    "rocket",
)


def main() -> None:
    """Read all pages as the library does, and with each change; print and save."""
    parser = Parser(prog="python -m benchmarks.trials.page_reading", description=__doc__)
    parser.add_argument("--pictures", metavar="DIR", help="folder of strangers' pictures")
    options = harness.parse_trial(parser)

    from digit_recognizer import data, records
    from digit_recognizer.page_reader import detection
    from digit_recognizer.recognition import page_reading
    from digit_recognizer.recognition.recognizer import Recognizer
    from digit_recognizer.runtime import device, provenance

    device.choose_device("cpu", 1)
    digits, recognizer = data.load("mnist", options.data_dir, validation=True), Recognizer.load()
    pictures = _pictures(digits.validation, Path(options.pictures) if options.pictures else None)
    rows = {"as it is": _count(recognizer, pictures)}
    print("as it is", rows["as it is"], flush=True)
    for name, values in CHANGES.items():
        module = detection if hasattr(detection, name) else page_reading
        kept = getattr(module, name)
        for value in values:
            setattr(module, name, value)
            change = f"{name} = {value} instead of {kept}"
            rows[change] = _count(recognizer, pictures)
            print(change, rows[change], flush=True)
        setattr(module, name, kept)
    record = {"right": rows, "made_with": provenance.collect(None)}
    records.save(Path(options.out) / "trials" / "page_reading.json", record)


def _pictures(source: Any, folder: Path | None) -> dict[str, list[tuple[Any, list[str]]]]:
    """By kind, pages and the rows that are on them."""
    import skimage.data

    from digit_recognizer.data import pages
    from digit_recognizer.preprocessing.page import analyze
    from digit_recognizer.recipes.page_reader import OTHER

    made = list(refused_glyphs.pages_with_rows(source, range(PAGES)))
    kinds = {
        "synthetic pages": [(page.image, _rows(page)) for page in made if OTHER not in page.labels],
        "signs among digits": [(page.image, _rows(page)) for page in made if OTHER in page.labels],
        "photographs": [(getattr(skimage.data, name)(), []) for name in PHOTOGRAPHS],
        "touching pairs": [(pair.image, [pair.text]) for pair in reading.make_pairs(source, PAIRS)],
        "empty paper": [
            (pages.make_page(source, refused_glyphs.PAGE_SEED + 1, index, reading.EMPTY_SIDE, empty=True).image, [])
            for index in range(EMPTY)
        ],
    }
    if folder is not None:
        for kind, table in (("numbers", "multi.csv"), ("single digits", "digits.csv")):
            rows = reading.read_table(folder, table)
            kinds[kind] = [(folder / row["file"], row["label"].split("/")) for row in rows]
        kinds["turned numbers"] = [
            (picture, rows) for path, rows in kinds["numbers"] for picture in reading.turn(Image.open(path))
        ]
        others = reading.read_table(folder, "nondigits.csv")
        kinds["without a digit"] = [(folder / row["file"], []) for row in others]
    return {kind: [(analyze(picture), rows) for picture, rows in each] for kind, each in kinds.items()}


def _rows(page: Any) -> list[str]:
    """The rows of a synthetic page, with "?" for signs."""
    from digit_recognizer.recipes.page_reader import OTHER

    characters = ["?" if label == OTHER else str(label) for label in page.labels]
    return ["".join(itertools.compress(characters, page.rows == row)) for row in sorted(set(page.rows.tolist()))]


def _count(recognizer: Any, kinds: dict[str, list[tuple[Any, list[str]]]]) -> dict[str, str]:
    """How many pages of each kind are read exactly, of how many; for numbers, rows as well.

    Empty paper and single digits are read in both ways, by read_number and as one digit by predict.
    """
    counts = {}
    for kind, pages in kinds.items():
        read = [(list(recognizer.read_number(page).rows), rows) for page, rows in pages]
        counts[kind] = f"{sum(got == rows for got, rows in read)} of {len(read)}"
        if kind == "numbers":
            right = sum(row in got for got, rows in read for row in rows)
            counts["rows"] = f"{right} of {sum(len(rows) for _, rows in read)}"
        if kind in ("empty paper", "single digits"):
            one = [(recognizer.predict(page).digit, rows) for page, rows in pages]
            right = sum(([] if digit is None else [str(digit)]) == rows for digit, rows in one)
            counts[f"{kind}, by predict"] = f"{right} of {len(one)}"
    return counts


if __name__ == "__main__":
    run_main(main)
