"""What makes a single network good: factors changed alone, then joined, on thirds of MNIST's training digits.

    python -m benchmarks.trials.best_network --device cuda --processes 15

Each variant is trained on two thirds and counted on the third, each third with several seeds; the test digits choose
nothing. The base is `cnn_best`. Each training is saved in results/trials/best_network.json as it ends, and one that is
there is not repeated.
"""

import argparse
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from digit_recognizer import recipes
from digit_recognizer.cli.parser import Parser, positive, run_main
from digit_recognizer.recipes.recipe import Convolution, Recipe
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import columns

BEST, BEST_WIDE, WIDE = map(recipes.get, ("cnn_best", "cnn_best_wide", "cnn_wide"))
SGD = {name: getattr(BEST, name) for name in ("optimizer", "learning_rate", "schedule", "momentum", "nesterov")}


def widen(recipe: Recipe, factor: float) -> Recipe:
    """A recipe with that many times the channels."""
    layers = [dataclasses.replace(layer, channels=round(layer.channels * factor)) for layer in recipe.convolutions]
    return with_layers(recipe, layers)


def with_layers(recipe: Recipe, layers: list[Convolution], **changes: Any) -> Recipe:
    """A recipe with other convolutions, after which there are as many positions as before."""
    positions = recipe.widths[0] // recipe.convolutions[-1].channels
    widths = (layers[-1].channels * positions, 10)
    return dataclasses.replace(recipe, convolutions=tuple(layers), widths=widths, **changes)


# Every second layer has as many channels as the one before.
RESIDUAL = [dataclasses.replace(layer, residual=place % 2 == 1) for place, layer in enumerate(BEST.convolutions)]
WIDE_RESIDUAL = dataclasses.replace(widen(with_layers(BEST, RESIDUAL), 2), epochs=24, label_smoothing=0.05)
HALF_WIDE = widen(WIDE, 0.5)
VARIANTS: dict[str, Recipe] = {
    "cnn_best": BEST,
    "smoothing_0.05": dataclasses.replace(BEST, label_smoothing=0.05),
    "enlarged": dataclasses.replace(BEST, side=32),  # 28x28 positions in the first layers instead of 24x24
    "residual": with_layers(BEST, RESIDUAL),
    "twice_as_wide": widen(BEST, 2),
    "twice_as_long": dataclasses.replace(BEST, epochs=24),
    "twice_as_wide_and_long": dataclasses.replace(widen(BEST, 2), epochs=24),
    "batch_64": dataclasses.replace(BEST, batch_size=64, learning_rate=0.1),
    # Unpooled, with kernels of 7x7: the fifth layer would have no pixel left.
    "kernels_7": dataclasses.replace(
        BEST, convolutions=tuple(Convolution(channels, size=7) for channels in (32, 64, 96, 128)), widths=(128 * 16, 10)
    ),
    "half_wide": HALF_WIDE,
    "half_wide_sgd": dataclasses.replace(HALF_WIDE, **SGD),
    # Its layers alone: all else as in cnn_best.
    "half_wide_layers": with_layers(BEST, [*HALF_WIDE.convolutions], side=32),
    # Twice as wide and long, residual, with less label smoothing; at last elastic as well.
    "wide_residual": WIDE_RESIDUAL,
    "wide_residual_0.02": dataclasses.replace(WIDE_RESIDUAL, label_smoothing=0.02),
    "cnn_best_wide": BEST_WIDE,
}


def main() -> None:
    """Train what is missing in the record, save each training, and print a table."""
    options = _parse()
    from digit_recognizer import data, records
    from digit_recognizer.study import cross_validation, executors

    data.load("mnist", options.data_dir)  # fails before any training where it is not available
    path = Path(options.out) / "trials" / "best_network.json"
    known = {} if options.quick else load(path)
    results = {
        name: known.get(name, {"settings": VARIANTS[name].settings, "trainings": []}) for name in options.variants
    }
    jobs = [
        (name, harness.shorten(VARIANTS[name]) if options.quick else VARIANTS[name], fold, options.data_dir, repeat,
         options.device, options.quick)
        for repeat in range(options.seeds)
        for fold in range(cross_validation.FOLDS)
        for name in options.variants
        if cross_validation.seed_of(fold, repeat) not in [each["seed"] for each in results[name]["trainings"]]
    ]  # fmt: skip
    try:
        with executors.open_executor(workers=options.processes) as executor:
            for name, training, logits in executor(train, jobs) if jobs else ():
                results[name]["trainings"].append(training)
                print(f"{name}, seed {training['seed']}: {len(training['wrong'])} wrong", flush=True)
                if options.logits and not options.quick:
                    np.save(Path(options.logits) / f"{name}-{training['seed']}.npy", logits)
                if not options.quick:
                    records.save(path, known | results)
    finally:  # also where it is stopped
        print(table(results), flush=True)


def train(name: str, recipe: Recipe, fold: int, *rest: Any) -> tuple[str, dict[str, Any], np.ndarray]:
    """Train on one fold, in any process; see cross_validation.predict_fold. The logits are float16 (n, 10)."""
    from digit_recognizer.study import cross_validation

    training, logits = cross_validation.predict_fold(recipe, fold, *rest)
    return name, training, logits.half().numpy()


def load(path: Path) -> dict[str, Any]:
    """The variants of a record, {} without one. Raises UserError where settings are not those of today."""
    known = json.loads(path.read_text()) if path.exists() else {}
    for name, each in known.items():
        if name in VARIANTS and each["settings"] != VARIANTS[name].settings:
            raise UserError(f"{path}: {name} had other settings; give it another name there, and run again")
    return known


def table(results: dict[str, Any]) -> str:
    """Errors of each variant, and how many more than `cnn_best` made on the same thirds with the same seeds."""
    wrong = {
        name: {each["seed"]: len(each["wrong"]) for each in result["trainings"]} for name, result in results.items()
    }
    rows = [
        (
            "variant",
            "trainings",
            "wrong of 20,000: mean ± std",
            "lowest to highest",
            "minus cnn_best",
            "loss",
            "seconds",
        )
    ]
    for name, result in results.items():
        counts, trainings = [*wrong[name].values()], result["trainings"]
        pairs = wrong.get("cnn_best", {}).keys() & wrong[name].keys() if name != "cnn_best" else ()
        rows.append((
            name, str(len(counts)), _mean(counts, "±"), f"{min(counts)} to {max(counts)}" if counts else "",
            _mean([wrong[name][seed] - wrong["cnn_best"][seed] for seed in pairs], "± s.e."),
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


def _parse() -> argparse.Namespace:
    parser = Parser(prog="python -m benchmarks.trials.best_network", description=__doc__)
    add = parser.add_argument
    add(
        "--variants",
        metavar="NAME",
        nargs="+",
        choices=VARIANTS,
        default=[*VARIANTS],
        help=f"{', '.join(VARIANTS)} (default: all)",
    )
    add("--logits", metavar="DIR", help="folder where the logits of the held-out digits are saved as well")
    add_options(parser, seeds=3)
    return harness.parse_trial(parser)


def add_options(parser: argparse.ArgumentParser, seeds: int) -> None:
    """What trials on thirds of the training digits have in common. seeds: the default."""
    add, on_each = parser.add_argument, f"trainings of each variant on each third (default: {seeds})"
    add("--seeds", metavar="N", type=positive, default=seeds, help=on_each)
    add("--device", metavar="NAME", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    add("--processes", metavar="N", type=positive, default=1, help="trainings at once, which share a card (default: 1)")
    add("--quick", action="store_true", help="try each variant with few digits; nothing is written")


if __name__ == "__main__":
    run_main(main)
