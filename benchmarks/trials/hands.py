"""How the network of single digits reads public hands, alone: wrong and refused digits. Nothing is trained.

    python -m benchmarks.trials.hands --bitmaps FILE --hwd DIR

FILE holds the original bitmaps of optdigits (E. Alpaydin and C. Kaynak, UCI, CC BY 4.0): 32 lines of 0 and 1, then the
label. DIR holds the pictures of hwd-1000 (N. Henning, MIT licence). The record is results/trials/hands.json. It takes
ten seconds.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from digit_recognizer.cli import labelled_files
from digit_recognizer.cli.parser import Parser, run_main
from digit_recognizer.preprocessing.page import analyze
from digit_recognizer.recognition.recognizer import Recognizer

SIDE = 32  # of a bitmap


def read_bitmaps(path: Path) -> list[tuple[np.ndarray, int]]:
    """Each digit, uint8 (32, 32), dark on light, and its label. What stands before the first bitmap is skipped."""
    lines = [line.strip() for line in path.read_text(encoding="ascii").splitlines()]
    is_row = [len(line) == SIDE and not set(line) - set("01") for line in lines]
    starts = range(is_row.index(True), len(lines) - SIDE, SIDE + 1)
    return [
        (np.array([[255 * (pixel == "0") for pixel in row] for row in lines[start : start + SIDE]], np.uint8),
         int(lines[start + SIDE]))
        for start in starts
    ]  # fmt: skip


def count(recognizer: Recognizer, digits: Iterable[tuple[Any, int]]) -> dict[str, int]:
    """Digits, and how many of them are read wrong and refused. digits: pictures and labels."""
    read = [(recognizer.read([analyze(picture).digit()])[0].digit, label) for picture, label in digits]
    return {
        "digits": len(read),
        "wrong": sum(digit not in (label, None) for digit, label in read),
        "refused": sum(digit is None for digit, _ in read),
    }


def main() -> None:
    """Read, print and save."""
    parser = Parser(prog="python -m benchmarks.trials.hands", description=__doc__)
    parser.add_argument("--bitmaps", metavar="FILE", type=Path, help="the original bitmaps of optdigits")
    parser.add_argument(
        "--hwd", metavar="DIR", type=Path, help="the pictures of hwd-1000, whose names begin with their labels"
    )
    parser.add_argument("--model", metavar="MODEL", help="a saved model (default: the network in the package)")
    parser.add_argument("--out", metavar="DIR", default="results", help="folder of trials/ (default: results)")
    options = parser.parse_args()
    from digit_recognizer import records
    from digit_recognizer.runtime import provenance

    recognizer = Recognizer.load(options.model)
    record: dict[str, Any] = {}
    if options.bitmaps:
        record["optdigits-original"] = count(recognizer, read_bitmaps(options.bitmaps))
    if options.hwd:
        pictures = labelled_files.collect([str(options.hwd)])
        record["hwd-1000"] = count(recognizer, [(each.path, int(each.label)) for each in pictures])
    print(record)
    if options.model is None:
        made_with = provenance.collect(None)
        network = recognizer.model.about["weights"]  # type: ignore[union-attr]
        records.save(
            Path(options.out) / "trials" / "hands.json", {**record, "network": network, "made_with": made_with}
        )


if __name__ == "__main__":
    run_main(main)
