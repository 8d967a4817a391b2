"""How long an epoch takes of recipes too long for `python -m benchmarks training_time`, beside one of `cnn_best`.

    python -m benchmarks.trials.long_epochs --threads 2

An epoch of 4,000 digits each, in turns, after a round that is not counted. It takes four minutes. The record is
results/trials/long_epochs.json; docs/recipes.md has the ratios.
"""

from pathlib import Path

import torch

from benchmarks import epoch, harness, training_time
from digit_recognizer import data, models, recipes, records
from digit_recognizer.cli.parser import Parser, positive, run_main
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError

BASE = recipes.get("cnn_best")
RECIPES = (BASE, *(recipes.get(name) for name in training_time.TOO_LONG))


def main() -> None:
    """Time, print and save."""
    parser = Parser(prog="python -m benchmarks.trials.long_epochs", description=__doc__)
    add = parser.add_argument
    add("--rounds", metavar="N", type=positive, default=5, help="epochs of each recipe that are counted (default: 5)")
    add("--digits", metavar="N", type=positive, default=4000, help="of an epoch (default: 4,000)")
    add("--threads", metavar="N", type=positive, default=2, help="CPU threads (default: 2)")
    options = harness.parse_trial(parser)
    choose_device("cpu", options.threads)  # before the digits are loaded, which uses several threads
    train = data.load("mnist", options.data_dir).train
    if not BASE.batch_size <= options.digits <= len(train.labels):
        raise UserError(
            f"--digits must be from {BASE.batch_size}, a batch, to {len(train.labels):,}, not {options.digits}"
        )
    train = train.take(torch.arange(options.digits))
    seconds: dict[str, list[float]] = {recipe.name: [] for recipe in RECIPES}
    for number in range(options.rounds + 1):
        for recipe in RECIPES:
            elapsed = epoch.our_epoch(train, harness.shorten(recipe))
            if number:
                seconds[recipe.name].append(elapsed)
    base = seconds[BASE.name]
    ratios = {name: [mine / its for mine, its in zip(times, base, strict=True)] for name, times in seconds.items()}
    for name, values in ratios.items():
        print(f"{name:16} {harness.format_spread(seconds[name])} s, times as long: {harness.format_spread(values)}")
    made_with = provenance.collect(models.build(BASE), BASE.precision)
    result = {"what": f"seconds of an epoch of {options.digits:,} digits", "seconds": seconds, "ratios": ratios}
    records.save(Path(options.out) / "trials" / "long_epochs.json", result | {"made_with": made_with})


if __name__ == "__main__":
    run_main(main)
