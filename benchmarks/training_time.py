"""What each recipe costs: seconds from the call to the trained network, and seconds for a prediction."""

import dataclasses
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import harness
from digit_recognizer import data, evaluation, models, recipes, training
from digit_recognizer.data import Digits
from digit_recognizer.recipes.ours import OURS
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.device import choose_device

QUICK = 10.0  # seconds: what takes less is trained MANY times
MANY = 10
PREDICTED = ("mlp_512_256_adam_5ep", "cnn_best")  # whose predictions are timed


def run(out: str | Path, data_dir: str | Path | None = None, rounds: int = 3) -> None:
    """Train each published recipe and each of ours with all cores, seeds from 0; time predictions with one thread.

    All on MNIST, those for QMNIST too; what a recipe holds out is not trained on. Written into out/benchmark.json under
    "ladder" and "predictions", beside what else is there.
    """
    harness.check_can_keep(out)
    threads = torch.get_num_threads()
    choose_device("cpu", threads)  # before the digits are loaded, which takes several threads
    digits = {validation: data.load("mnist", data_dir, validation=validation) for validation in (False, True)}
    timed_ones = [dataclasses.replace(recipe, dataset="mnist") for recipe in (*PUBLISHED, *OURS)]
    torch.optim.Adam([torch.zeros(1)])  # the first of all imports PyTorch's compiler, and imports are not timed
    runs: dict[str, list[dict[str, Any]]] = {recipe.name: [] for recipe in timed_ones}
    for seed in range(max(rounds, MANY)):
        for recipe in timed_ones:
            of = runs[recipe.name]
            if seed < rounds or statistics.median(each["seconds"] for each in of) < QUICK:
                of.append(timed(recipe, digits[recipe.validation], seed, threads))
                print(
                    f"{recipe.name}, seed {seed}: {of[-1]['seconds']:.2f} s, test accuracy {of[-1]['accuracy']:.2%}",
                    flush=True,
                )
    ladder: dict[str, Any] = {
        "what": "seconds from the call to the trained network, MNIST's 60,000 digits less what a recipe holds out",
        "runs": runs,
        "md5": dict(digits[False].md5),
    }
    ladder["made_with"] = provenance.collect(models.build(recipes.get())) | {"threads": threads}
    ladder["spin_count"] = os.environ.get("GOMP_SPINCOUNT")
    predictions = {name: prediction(recipes.get(name), digits[False]) for name in PREDICTED}
    harness.keep(out, {"ladder": ladder, "predictions": predictions})
    print(table(ladder, predictions))


def timed(recipe: Recipe, digits: Digits, seed: int, threads: int) -> dict[str, Any]:
    """Seconds of one training, making the network included, held-out scores left out; and what it led to."""
    one = digits.test.take(torch.arange(1))
    fast = Digits(digits.name, digits.train, None, one, digits.md5)  # a curve of one digit costs nothing
    began = time.perf_counter()
    choose_device("cpu", threads)
    model, _ = training.fit(models.build(recipe, seed), fast, recipe, seed, quiet=True)
    seconds = time.perf_counter() - began
    scores = evaluation.score(evaluation.predict(model, digits.test.images), digits.test.labels)
    return {"seed": seed, "seconds": seconds, "accuracy": scores.accuracy, "weights": provenance.weights_hash(model)}


def prediction(recipe: Recipe, digits: Digits, times: int = 200) -> dict[str, float]:
    """Milliseconds for one digit alone, warm, and digits a second in batches of 1,000; with one thread."""
    choose_device("cpu", 1)
    model = models.build(recipe).eval()
    alone, stamps = digits.test.images[:1], []
    for _ in range(times):
        began = time.perf_counter()
        evaluation.predict(model, alone)
        stamps.append(time.perf_counter() - began)
    began = time.perf_counter()
    evaluation.predict(model, digits.test.images)
    return {
        "one_digit_ms": 1000 * statistics.median(stamps[times // 4 :]),
        "digits_per_second": len(digits.test.labels) / (time.perf_counter() - began),
    }


def table(ladder: dict[str, Any], predictions: dict[str, Any]) -> str:
    """Both results as text."""
    lines = [f"{ladder['what']}, {ladder['made_with']['threads']} threads, median (lowest to highest)"]
    busy = []
    for name, of in ladder["runs"].items():
        times, accuracies = ([run[field] for run in of] for field in ("seconds", "accuracy"))
        busy += [name] if harness.differ(times) else []
        lines.append(
            f"{name:24} {harness.spread(times)} s, n = {len(of)}, test accuracy {statistics.mean(accuracies):.2%}"
        )
    for name, of in predictions.items():
        lines.append(
            f"{name:24} predicts one digit in {of['one_digit_ms']:.2f} ms, "
            f"{of['digits_per_second']:,.0f} a second in batches, one thread"
        )
    return "\n".join(lines + harness.too_busy(busy))
