"""Which features tell best how likely a number is right? Sets of them are compared by cross-validation.

    python -m benchmarks.trials.number_confidence

The pages are those that `digits train --recipe page_reader` fits the confidence on: synthetic, of MNIST's validation
digits. Nothing is trained but the logistic regression of recognition.calibration. The log loss, in nats, and the
calibration error of benchmarks.reading are those of numbers that were not fitted on. The record is
results/trials/number_confidence.json. It takes ten minutes with one thread.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from benchmarks import harness, reading
from digit_recognizer.cli import train_pages
from digit_recognizer.cli.parser import Parser, positive, run_main

NAMES = ("one", "log-odds", "least score", "shapes unread", "another digit", "a glyph unread")  # those of the library
MORE = ("mean score", "least log-odds", "how many digits", "several rows", "anything unread")
SETS = {
    "the library's": NAMES,
    "before": ("one", "log-odds", "mean score", "anything unread"),
    **{f"without {name}": tuple(each for each in NAMES if each != name) for name in NAMES[1:]},
    **{f"and {name}": (*NAMES, name) for name in MORE},
}
FOLDS, SHUFFLES = 10, 5


def main() -> None:
    """Read the pages, compare, print and save."""
    parser = Parser(prog="python -m benchmarks.trials.number_confidence", description=__doc__)
    parser.add_argument(
        "--pages",
        metavar="N",
        type=positive,
        default=train_pages.CALIBRATION_PAGES,
        help="synthetic (default: %(default)s)",
    )
    parser.add_argument("--workers", metavar="N", type=positive, default=1, help="processes (default: 1)")
    options = harness.parse_trial(parser)
    from digit_recognizer import records
    from digit_recognizer.runtime import provenance

    parts = [range(first, options.pages, options.workers) for first in range(options.workers)]
    jobs = (joblib.delayed(_read)(part, options.data_dir) for part in parts)
    numbers = [number for part in joblib.Parallel(options.workers)(jobs) for number in part]
    are_right = np.array([is_right for _, is_right in numbers])
    compared = {}
    for name, columns in SETS.items():
        compared[name] = _score(np.array([[values[each] for each in columns] for values, _ in numbers]), are_right)
        print(f"{name}: log loss {compared[name]['log_loss']:.4f}, error {compared[name]['calibration_error']:.2%}")
    record = {
        "numbers": len(numbers), "right": int(are_right.sum()), "sets": compared, "made_with": provenance.collect(None),
    }  # fmt: skip
    records.save(Path(options.out) / "trials" / "number_confidence.json", record)


def _read(indices: Sequence[int], data_dir: str | None) -> list[tuple[dict[str, float], bool]]:
    """For each page on which there is a number: all features, and whether it is right."""
    from digit_recognizer import data
    from digit_recognizer.page_reader import measurement, reader
    from digit_recognizer.recognition import page_reading
    from digit_recognizer.recognition.recognizer import Recognizer
    from digit_recognizer.runtime import device

    device.choose_device("cpu", 1)
    _, source = data.load("mnist", data_dir, validation=True).held_out
    recognizer = Recognizer(page_reader=reader.PageReader(reader.pretrained().compute_maps, {}))  # as it is fitted
    features_of, seen = page_reading.confidence_features, []

    def see(readings: Sequence[page_reading.Reading], unread: int) -> tuple[float, ...]:
        seen.append(readings)
        return features_of(readings, unread)

    def read() -> Iterator[tuple[dict[str, float], bool]]:
        for image, rows in measurement.readable_pages(source, train_pages.CALIBRATION_SEED, indices):
            number = recognizer.read_number(image)
            if number.rows:
                values = dict(zip(NAMES, number.features, strict=True))
                yield {**values, **_more(seen[-1], number, values)}, list(number.rows) == rows

    page_reading.confidence_features = see
    try:
        return list(read())
    finally:
        page_reading.confidence_features = features_of


def _more(readings: Sequence[Any], number: Any, values: dict[str, float]) -> dict[str, float]:
    """The features that the library does not use."""
    least = min(max(min(each.prediction.confidence for each in readings), 1e-6), 1 - 1e-6)
    unread = max(values["shapes unread"], values["a glyph unread"])
    scores = float(np.mean([math.log(each.glyph.score) for each in readings]))
    sizes = math.log(len(readings)), float(len(number.rows) > 1)
    return dict(zip(MORE, (scores, math.log(least / (1 - least)), *sizes, unread), strict=True))


def _score(features: np.ndarray, are_right: np.ndarray) -> dict[str, float]:
    """Log loss and calibration error of numbers in folds that were not fitted on, the mean over several divisions."""
    from sklearn.metrics import log_loss
    from sklearn.model_selection import StratifiedKFold

    from digit_recognizer.recognition import calibration

    scores = []
    for seed in range(SHUFFLES):
        predicted = np.empty(len(are_right))
        for fitted, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, are_right):
            weights = calibration.calibrate_numbers(features[fitted], are_right[fitted])
            predicted[held_out] = 1 / (1 + np.exp(-features[held_out] @ weights))
        scores.append((log_loss(are_right, predicted), reading.calibration_error(predicted, are_right)))
    losses, errors = zip(*scores, strict=True)
    return {"log_loss": float(np.mean(losses)), "calibration_error": float(np.mean(errors))}


if __name__ == "__main__":
    run_main(main)
