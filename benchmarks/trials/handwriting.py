"""How trainings of `cnn_handwriting` read what nothing was trained on: held-out digits, damage, other hands, strangers.

    python -m benchmarks.trials.handwriting MODEL [MODEL ...] --pictures DIR DIR

A MODEL is what `digits train --recipe cnn_handwriting` saved, at any commit; its record says which. DIR is as for
python -m benchmarks.reading, whose page reader takes part here as well. MNIST's test digits are not asked. A line of
results/trials/handwriting.json tells of each network; lines of other networks stay. A network takes a minute.
"""

import json
from pathlib import Path
from typing import Any

import joblib

from benchmarks import harness, reading
from benchmarks.trials import hands, refusal_scores
from digit_recognizer.cli.parser import Parser, positive, run_main

DAMAGED = 2000  # validation digits, damaged in each way


def measure(path: str, folders: list[str], data_dir: str | None, damaged: int = DAMAGED) -> dict[str, Any]:
    """All that is measured of one network, in any process."""
    from digit_recognizer import checkpoints, data, evaluation
    from digit_recognizer.data import corruptions, test_sets
    from digit_recognizer.recognition.recognizer import Recognizer
    from digit_recognizer.runtime import device

    device.choose_device("cpu", 1)
    checkpoint, recognizer = checkpoints.load(path), Recognizer.load(path)
    record = checkpoint.record or {}
    _, held_out = data.load("mnist", data_dir, validation=True).held_out
    few = data.Split(held_out.images[:damaged], held_out.labels[:damaged])
    errors = [
        1 - evaluation.score(evaluation.predict(checkpoint.model, images), few.labels).accuracy
        for images in (corruptions.corrupt(few.images, kind) for kind in corruptions.KINDS)
    ]
    validation = evaluation.score(evaluation.predict(checkpoint.model, held_out.images), held_out.labels)
    return {
        "seed": record.get("seed"),
        "commit": record.get("made_with", {}).get("commit"),
        "settings": {name: record["settings"][name] for name in ("epochs", "outlier_fraction", "augmentation")},
        "validation_accuracy": validation.accuracy,
        "mean_error_damaged": sum(errors) / len(errors),
        "optdigits-original": hands.count(recognizer, zip(*test_sets.pictures_of("optdigits-original"), strict=True)),
        "strangers": [_of_strangers(recognizer, Path(folder)) for folder in folders],
    }


def _of_strangers(recognizer: Any, folder: Path) -> dict[str, Any]:
    """Digits that are read right, rows that are, letters and others that are given a digit; and how many there are."""
    digits = reading.measure_digits(recognizer, folder)
    rows = [
        (row["label"].split("/"), recognizer.read_number(folder / row["file"]).rows)
        for row in reading.read_table(folder, "multi.csv")
    ]
    given: dict[str, list[bool]] = {"letters": [], "others": []}
    for row in reading.read_table(folder, "nondigits.csv"):
        kind = "letters" if refusal_scores.is_letter(row) else "others"
        given[kind].append(recognizer.predict(folder / row["file"]).digit is not None)
    return {
        "digits": [digits["right"], digits["pictures"]],
        "wrong": digits["wrong"],
        "rows": [sum(each in got for wanted, got in rows for each in wanted), sum(len(wanted) for wanted, _ in rows)],
        **{kind: [sum(found), len(found)] for kind, found in given.items()},
    }


def main() -> None:
    """Measure, print and save."""
    parser = Parser(prog="python -m benchmarks.trials.handwriting", description=__doc__)
    parser.add_argument("models", metavar="MODEL", nargs="+", help="files of digits train")
    parser.add_argument("--pictures", metavar="DIR", nargs="+", default=[], help="folders of strangers' pictures")
    parser.add_argument("--workers", metavar="N", type=positive, default=1, help="processes (default: 1)")
    options = harness.parse_trial(parser)
    from digit_recognizer import checkpoints, records
    from digit_recognizer.runtime import provenance

    target = Path(options.out) / "trials" / "handwriting.json"
    found = json.loads(target.read_text())["networks"] if target.exists() else {}
    jobs = (joblib.delayed(measure)(path, options.pictures, options.data_dir) for path in options.models)
    for path, row in zip(options.models, joblib.Parallel(n_jobs=options.workers)(jobs), strict=True):
        found[provenance.weights_hash(checkpoints.load(path).model)] = row
        print(path, json.dumps(row))
    records.save(target, {"networks": found, "made_with": provenance.collect(None)})


if __name__ == "__main__":
    run_main(main)
