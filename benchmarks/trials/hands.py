"""How a picture of a digit is read by the whole recogniser, on public hands: wrong and refused digits.

    python -m benchmarks.trials.hands

`digits evaluate --dataset hwd-1000` takes the network's likeliest digit. Here a digit may also be refused, as
`digits predict` refuses it. Nothing is trained. The record is results/trials/hands.json. It takes twenty seconds.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from digit_recognizer.cli.parser import Parser, run_main
from digit_recognizer.preprocessing.page import analyze
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime import files

HANDS = ("optdigits-original", "hwd-1000")


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
    parser.add_argument("--model", metavar="MODEL", help="a saved model (default: the network in the package)")
    parser.add_argument("--out", metavar="DIR", default="results", help="folder of trials/ (default: results)")
    options = parser.parse_args()
    if options.model is None:  # else nothing is saved
        files.check_writable(options.out)
    from digit_recognizer import records
    from digit_recognizer.data import test_sets
    from digit_recognizer.runtime import provenance

    recognizer = Recognizer.load(options.model)
    record: dict[str, Any] = {name: count(recognizer, zip(*test_sets.pictures_of(name), strict=True)) for name in HANDS}
    print(record)
    if options.model is None:
        made_with = provenance.collect(None)
        network = recognizer.model.about["weights"]  # type: ignore[union-attr]
        records.save(
            Path(options.out) / "trials" / "hands.json", {**record, "network": network, "made_with": made_with}
        )


if __name__ == "__main__":
    run_main(main)
