"""What a graphics card does: an epoch of 784-512-256-10, predictions, and trainings, seconds to 99 % among them.

    PYTHONPATH=src:. python -m benchmarks gpu

Needs PyTorch, NumPy, tqdm and MNIST's files; the package need not be installed. Its trainings take two minutes on an
NVIDIA H200.
"""

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks import epoch, harness, training_time
from digit_recognizer import data, models, recipes, records
from digit_recognizer.data import Digits
from digit_recognizer.runtime import files, provenance
from digit_recognizer.runtime.device import choose_device

# How often each recipe is trained, from seed 0 on.
TRAININGS = {"cnn_in_seconds": 10, "cnn_best": 5, "cnn_best_wide": 5}
PREDICTED = ("mlp_512_256_adam_5ep", "cnn_best", "cnn_best_wide")  # recipes whose predictions are timed
BATCHES_BEFORE_TIMING = 10  # that are trained first: a card loads each kernel at its first use


def run(
    out: str | Path, data_dir: str | Path | None = None, rounds: int = 5, device: str = "cuda", quick: bool = False
) -> None:
    """Measure all on a device; print each part and save it as soon as it is there, the longest last.

    out/gpu.json holds the results by the device's name; those of other devices stay. What an earlier run found on the
    same device is replaced at once.
    rounds: epochs of the default recipe that are timed. quick: every part once, with few digits; nothing is saved.
    """
    if not quick:
        files.check_writable(out)
    device = choose_device(device).type  # of "auto", what it means here
    digits = data.load("mnist", data_dir)
    if quick:
        digits = Digits("mnist", first(digits.train, 250), None, first(digits.test, 100), digits.md5)
    result: dict[str, Any] = {
        "what": "seconds from the call to the trained network, MNIST's 60,000 digits",
        "md5": dict(digits.md5),
        "made_with": provenance.collect(models.build(recipes.get()).to(device)),
    }
    card, path = result["made_with"]["device_name"], Path(out) / "gpu.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    what = "a try with few digits, which measures and writes nothing" if quick else result["what"]
    print(f"{what}, on {card}, median (lowest to highest)", flush=True)

    def save() -> None:
        if not quick:
            records.save(path, known | {card: result})

    seconds = [epoch.our_epoch(digits.train, recipes.get(), device) for _ in range(1 + rounds)][1:]  # after a warm-up
    result["epoch"] = {"recipe": recipes.DEFAULT, "seconds": seconds, "median": statistics.median(seconds)}
    save()
    print(f"{recipes.DEFAULT:24} {harness.format_spread(seconds)} s an epoch, n = {rounds}", flush=True)
    result["predictions"] = {}
    for name in PREDICTED:
        speed = training_time.time_predictions(recipes.get(name), digits, 20 if quick else 200, device)
        result["predictions"][name] = speed
        save()
        print(training_time.format_predictions(name, speed), flush=True)
    result["trainings"] = {}
    for name, count in TRAININGS.items():
        recipe = harness.shorten(recipes.get(name)) if quick else recipes.get(name)
        few = dataclasses.replace(digits, train=first(digits.train, BATCHES_BEFORE_TIMING * recipe.batch_size))
        training_time.time_training(harness.shorten(recipe), few, 0, 1, device)
        runs = result["trainings"][name] = []
        for seed in range(1 if quick else count):
            runs.append(training_time.time_training(recipe, digits, seed, 1, device))
            save()
        print(training_time.format_training(name, runs), flush=True)
    for line in training_time.noise_warning(result["trainings"]):
        print(line)


def first(split: data.Split, count: int) -> data.Split:
    """The first digits of a split."""
    return data.Split(split.images[:count], split.labels[:count])
