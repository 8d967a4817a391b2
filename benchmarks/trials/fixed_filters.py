"""What `cnn_in_a_second` is made of: variants of it, counted on held-out digits; and its time beside `cnn_in_seconds`.

    python -m benchmarks.trials.fixed_filters --threads 2

Variants are counted on parts of MNIST's training digits that they have not seen. The recipe is then timed in turns with
`cnn_in_seconds`, from the call to the trained network, and read on the test digits, which choose nothing. Saved in
results/trials/fixed_filters.json. It takes six minutes.
"""

import argparse
import dataclasses
import statistics
from pathlib import Path
from typing import Any

import torch

from benchmarks import harness, training_time
from digit_recognizer import data, evaluation, models, recipes, training
from digit_recognizer.cli.parser import Parser, positive, run_main
from digit_recognizer.data import Digits, Split
from digit_recognizer.recipes.recipe import Convolution, Recipe
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.study import cross_validation

BASE, RECIPE = recipes.get("cnn_in_seconds"), recipes.get("cnn_in_a_second")
FILTERS, SECOND = RECIPE.convolutions
PARTS = 12  # of 5,000 training digits, one of which is held out
SEED = 200  # of the first part; those of tables start from 0


def _layers(first: Convolution, second: Convolution, features: int, hidden: int = 64, **changes: Any) -> Recipe:
    return dataclasses.replace(RECIPE, convolutions=(first, second), widths=(features, hidden, 10), **changes)


VARIANTS: dict[str, Recipe] = {
    "cnn_in_seconds": BASE,
    "cnn_in_a_second": RECIPE,
    "learning rate 0.5": dataclasses.replace(RECIPE, learning_rate=0.5),
    "learning rate 1.1": dataclasses.replace(RECIPE, learning_rate=1.1),
    "batch size 125, learning rate 0.3": dataclasses.replace(RECIPE, batch_size=125, learning_rate=0.3),
    "batch size 200, learning rate 0.6": dataclasses.replace(RECIPE, batch_size=200, learning_rate=0.6),
    "batch size 500": dataclasses.replace(RECIPE, batch_size=500),
    "label smoothing 0.05": dataclasses.replace(RECIPE, label_smoothing=0.05),
    "12 filters": _layers(dataclasses.replace(FILTERS, channels=24), SECOND, 64 * 9),
    "8 filters": _layers(dataclasses.replace(FILTERS, channels=16), SECOND, 64 * 9),
    "48 channels": _layers(FILTERS, Convolution(48, pool=True), 48 * 9),
    "32 channels without pooling, 128 hidden units": _layers(FILTERS, Convolution(32), 32 * 36, 128),
    "128 hidden units": _layers(FILTERS, SECOND, 64 * 9, 128),
    "no hidden layer": dataclasses.replace(RECIPE, widths=(64 * 9, 10), learning_rate=0.4),
    "the filters trained": dataclasses.replace(
        RECIPE, convolutions=(dataclasses.replace(FILTERS, fixed=False), SECOND)
    ),
}


def count_wrong(recipe: Recipe, split: Split, held_out: Split, seed: int) -> int:
    """Wrong predictions of a part that was held out."""
    digits = Digits("mnist", split, None, held_out.take(torch.arange(1)), {})
    model, _ = training.fit(models.build(recipe, seed), digits, recipe, seed, quiet=True)
    return int((evaluation.predict(model, held_out.images).argmax(1) != held_out.labels).sum())


def main() -> None:
    """Count, time, print and save."""
    options = _parse()
    from digit_recognizer import records
    from digit_recognizer.runtime import provenance

    choose_device("cpu", options.threads)
    digits = data.load("mnist", options.data_dir)
    parts = [cross_validation.split_fold(digits.train, part, PARTS)[:2] for part in range(options.parts)]
    count, wrong = sum(len(held_out.labels) for _, held_out in parts), {}
    for name, recipe in VARIANTS.items():
        wrong[name] = [count_wrong(recipe, *part, SEED + number) for number, part in enumerate(parts)]
        print(f"{name}: {sum(wrong[name])} wrong of {count:,}", flush=True)
    runs: dict[str, list[dict[str, Any]]] = {BASE.name: [], RECIPE.name: []}
    for seed in range(options.seeds):
        for recipe in (BASE, RECIPE):
            runs[recipe.name].append(training_time.time_training(recipe, digits, seed, options.threads))
    seconds = {name: [each["seconds"] for each in trainings] for name, trainings in runs.items()}
    ratios = [mine / theirs for mine, theirs in zip(seconds[RECIPE.name], seconds[BASE.name], strict=True)]
    for name, trainings in runs.items():
        print(training_time.format_training(name, trainings))
    print(f"times as long: {harness.format_spread(ratios)}, median {statistics.median(ratios):.2f}")
    result = {"wrong": wrong, "of": count, "runs": runs, "ratios": ratios}
    result |= {"made_with": provenance.collect(models.build(RECIPE), RECIPE.precision)}
    records.save(Path(options.out) / "trials" / "fixed_filters.json", result)


def _parse() -> argparse.Namespace:
    parser = Parser(prog="python -m benchmarks.trials.fixed_filters", description=__doc__)
    add = parser.add_argument
    add(
        "--parts",
        metavar="N",
        type=int,
        choices=range(1, PARTS + 1),
        default=8,
        help="of 5,000 digits, 1 to 12 (default: 8)",
    )
    add("--seeds", metavar="N", type=positive, default=30, help="trainings that are timed (default: 30)")
    add("--threads", metavar="N", type=positive, default=2, help="CPU threads (default: 2)")
    return harness.parse_trial(parser)


if __name__ == "__main__":
    run_main(main)
