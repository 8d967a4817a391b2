"""What makes wide networks good: each factor is changed alone, on thirds of MNIST's training digits.

    python -m benchmarks.trials.wide_networks --device cuda --processes 9

Each variant is trained on two thirds and counted on the third, each third with several seeds; the test digits choose
nothing. The base is `cnn_wide` at half its width. Each training is saved in results/trials/wide_networks.json as it
ends, and one that is there is not repeated.
"""

import argparse
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

from digit_recognizer import recipes
from digit_recognizer.cli.parser import Parser, positive, run_main
from digit_recognizer.recipes.recipe import Convolution, Recipe
from digit_recognizer.runtime.text import columns

WIDE, BEST = recipes.get("cnn_wide"), recipes.get("cnn_best")
PENS = recipes.get("cnn_handwriting").augmentation  # styles, stroke width, blur, contrast and hard edges


def of_width(width: int) -> Recipe:
    """`cnn_wide` with that many channels at 28x28 pixels."""
    layers = [dataclasses.replace(layer, channels=layer.channels * width // 128) for layer in WIDE.convolutions]
    return with_layers(WIDE, layers)


def with_layers(recipe: Recipe, layers: list[Convolution], side: int = 32) -> Recipe:
    """A recipe with other convolutions that end with 3x3 pixels."""
    return dataclasses.replace(recipe, convolutions=tuple(layers), widths=(layers[-1].channels * 9, 10), side=side)


BASE = of_width(64)
SGD = {name: getattr(BEST, name) for name in ("optimizer", "learning_rate", "schedule", "momentum", "nesterov")}
VARIANTS: dict[str, Recipe] = {
    "base": BASE,
    "cnn_best": BEST,
    "no_residual": with_layers(BASE, [dataclasses.replace(layer, residual=False) for layer in BASE.convolutions]),
    # The first layer pads its input, so that its output has 28x28 pixels as well.
    "no_enlarging": with_layers(BASE, [Convolution(64), *BASE.convolutions[1:]], side=28),
    "sgd": dataclasses.replace(BASE, **SGD),
    "smoothing": dataclasses.replace(BASE, label_smoothing=0.1),
    "pens": dataclasses.replace(BASE, augmentation=PENS),
    "cnn_best_pens": dataclasses.replace(BEST, augmentation=PENS),
    "batch_250": dataclasses.replace(BASE, batch_size=250),
    "width_48": of_width(48),
    "width_96": of_width(96),
    "width_128": WIDE,
}


def main() -> None:
    """Train what is missing in the record, save each training, and print a table."""
    options = _parse()
    from digit_recognizer import data, records
    from digit_recognizer.study import cross_validation, executors

    data.load("mnist", options.data_dir)  # fails before any training where it is not available
    path = Path(options.out) / "trials" / "wide_networks.json"
    known = {} if options.quick else load(path)
    results = {
        name: known.get(name, {"settings": VARIANTS[name].settings, "trainings": []}) for name in options.variants
    }
    jobs = [
        (name, _quick(VARIANTS[name]) if options.quick else VARIANTS[name], fold, options.data_dir, repeat,
         options.device, options.quick)
        for repeat in range(options.seeds)
        for fold in range(cross_validation.FOLDS)
        for name in options.variants
        if cross_validation.seed_of(fold, repeat) not in [each["seed"] for each in results[name]["trainings"]]
    ]  # fmt: skip
    try:
        with executors.open_executor(workers=options.processes) as executor:
            for name, training in executor(cross_validation.train_fold, jobs) if jobs else ():
                results[name]["trainings"].append(training)
                print(f"{name}, seed {training['seed']}: {len(training['wrong'])} wrong", flush=True)
                if not options.quick:
                    records.save(path, known | results)
    finally:  # also where it is stopped
        print(table(results), flush=True)


def load(path: Path) -> dict[str, Any]:
    """The variants of a record whose settings are those of today; {} without a record."""
    known = json.loads(path.read_text()) if path.exists() else {}
    return {
        name: each for name, each in known.items() if name in VARIANTS and each["settings"] == VARIANTS[name].settings
    }


def table(results: dict[str, Any]) -> str:
    """Errors of each variant, and how many more than the base made on the same thirds with the same seeds."""
    wrong = {
        name: {each["seed"]: len(each["wrong"]) for each in result["trainings"]} for name, result in results.items()
    }
    rows = [
        ("variant", "trainings", "wrong of 20,000: mean ± std", "lowest to highest", "minus base", "loss", "seconds")
    ]
    for name, result in results.items():
        counts, trainings = [*wrong[name].values()], result["trainings"]
        pairs = wrong.get("base", {}).keys() & wrong[name].keys() if name != "base" else ()
        rows.append((
            name, str(len(counts)), _mean(counts, "±"), f"{min(counts)} to {max(counts)}" if counts else "",
            _mean([wrong[name][seed] - wrong["base"][seed] for seed in pairs], "± s.e."),
            f"{statistics.mean(each['calibrated_loss'] for each in trainings):.5f}" if trainings else "",
            f"{statistics.mean(each['seconds'] for each in trainings):.0f}" if trainings else "",
        ))  # fmt: skip
    return columns(rows)


def _mean(values: list[int], spread: str) -> str:
    """Mean and standard deviation, or standard error, as text; empty without values."""
    if len(values) < 2:
        return "".join(map(str, values))
    std = statistics.stdev(values)
    std = std / len(values) ** 0.5 if spread.endswith("s.e.") else std
    return f"{statistics.mean(values):.1f} {spread} {std:.1f}"


def _quick(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, epochs=1, epochs_without_augmentation=0)


def _parse() -> argparse.Namespace:
    parser = Parser(prog="python -m benchmarks.trials.wide_networks", description=__doc__)
    add = parser.add_argument
    add("--variants", metavar="NAME", nargs="+", choices=VARIANTS, default=[*VARIANTS], help=", ".join(VARIANTS))
    add("--seeds", metavar="N", type=positive, default=3, help="trainings of each variant on each third (default: 3)")
    add("--device", metavar="NAME", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    add("--processes", metavar="N", type=positive, default=1, help="trainings at once, which share a card (default: 1)")
    add("--quick", action="store_true", help="try each variant with few digits; nothing is written")
    add("--out", metavar="DIR", default="results", help="folder of trials/ (default: results)")
    add("--data-dir", metavar="DIR", help="folder of MNIST/raw")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
