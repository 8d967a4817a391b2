"""Training time of all recipes but the longest, from the call to the trained network, and time of a prediction."""

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

TOO_LONG = ("cnn_best_wide", "cnn_handwriting", "cnn_wide")  # on a CPU: more than ten minutes
ELSEWHERE = ("cnn_in_a_second",)  # timed beside cnn_in_seconds by benchmarks.trials.fixed_filters
RECIPES = tuple(recipe for recipe in (*PUBLISHED, *OURS) if recipe.name not in TOO_LONG + ELSEWHERE)
SHORT = 10.0  # seconds: a training that takes less is repeated MANY times
MANY = 10
PREDICTED = ("mlp_512_256_adam_5ep", "cnn_best")  # recipes whose predictions are timed


def run(out: str | Path, data_dir: str | Path | None = None, rounds: int = 3) -> None:
    """Train published recipes and ours with all cores, from seed 0 on; time predictions with one thread.

    All on MNIST, also the recipes for QMNIST, without what a recipe holds out. Saved in out/benchmark.json under
    "training_time" and "predictions".
    """
    harness.check_writable(out)
    threads = torch.get_num_threads()
    choose_device("cpu", threads)  # before the digits are loaded, which uses several threads
    digits = {validation: data.load("mnist", data_dir, validation=validation) for validation in (False, True)}
    on_mnist = [dataclasses.replace(recipe, dataset="mnist") for recipe in RECIPES]
    torch.optim.Adam([torch.zeros(1)])  # the first optimiser imports PyTorch's compiler, and imports are not timed
    runs: dict[str, list[dict[str, Any]]] = {recipe.name: [] for recipe in on_mnist}
    for seed in range(max(rounds, MANY)):
        for recipe in on_mnist:
            done = runs[recipe.name]
            if seed < rounds or statistics.median(each["seconds"] for each in done) < SHORT:
                done.append(time_training(recipe, digits[recipe.validation], seed, threads))
                seconds, accuracy = done[-1]["seconds"], done[-1]["accuracy"]
                print(f"{recipe.name}, seed {seed}: {seconds:.2f} s, test accuracy {accuracy:.2%}", flush=True)
    result: dict[str, Any] = {
        "what": "seconds from the call to the trained network, MNIST's 60,000 digits less what a recipe holds out",
        "runs": runs,
        "md5": dict(digits[False].md5),
    }
    result["made_with"] = provenance.collect(models.build(recipes.get())) | {"threads": threads}
    result["spin_count"] = os.environ.get("GOMP_SPINCOUNT")
    predictions = {name: time_predictions(recipes.get(name), digits[False]) for name in PREDICTED}
    harness.save_results(out, {"training_time": result, "predictions": predictions})
    print(table(result, predictions))


def read_clock(device: str = "cpu") -> float:
    """Seconds, read once the device has computed all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def time_training(recipe: Recipe, digits: Digits, seed: int, threads: int, device: str = "cpu") -> dict[str, Any]:
    """Seconds of one training, building the network included, evaluation excluded; and its result."""
    one = digits.test.take(torch.arange(1))  # so that scores after each epoch cost nothing
    train_only = Digits(digits.name, digits.train, None, one, digits.md5)
    began = read_clock(device)
    model = models.build(recipe, seed).to(choose_device(device, threads))
    model, _ = training.fit(model, train_only, recipe, seed, quiet=True)
    seconds = read_clock(device) - began
    scores = evaluation.score(evaluation.predict(model, digits.test.images), digits.test.labels)
    return {"seed": seed, "seconds": seconds, "accuracy": scores.accuracy, "weights": provenance.weights_hash(model)}


def time_predictions(recipe: Recipe, digits: Digits, times: int = 200, device: str = "cpu") -> dict[str, float]:
    """Milliseconds for a single digit after warm-up, and digits per second in batches of 1,000; with one thread.

    Pixels start in the memory of the CPU, and logits end there.
    """
    model = models.build(recipe).to(choose_device(device, 1)).eval()
    single = [_time_prediction(model, digits.test.images[:1], device) for _ in range(times)][times // 4 :]
    _time_prediction(model, digits.test.images[:1000], device)  # warm-up
    many = [_time_prediction(model, digits.test.images, device) for _ in range(3)]
    return {
        "one_digit_ms": 1000 * statistics.median(single),
        "digits_per_second": len(digits.test.labels) / statistics.median(many),
    }


def _time_prediction(model: torch.nn.Module, images: torch.Tensor, device: str) -> float:
    began = read_clock(device)
    evaluation.predict(model, images)
    return read_clock(device) - began


def table(result: dict[str, Any], predictions: dict[str, Any]) -> str:
    """Both results as text."""
    lines = [f"{result['what']}, {result['made_with']['threads']} threads, median (lowest to highest)"]
    lines += [format_training(name, runs) for name, runs in result["runs"].items()]
    lines += [f"{format_predictions(name, each)}, one thread" for name, each in predictions.items()]
    return "\n".join(lines + noise_warning(result["runs"]))


def format_training(name: str, runs: list[dict[str, Any]]) -> str:
    """Median seconds and mean accuracy of a recipe's trainings, as a line of text."""
    seconds, accuracies = ([run[field] for run in runs] for field in ("seconds", "accuracy"))
    accuracy = statistics.mean(accuracies)
    return f"{name:24} {harness.format_spread(seconds)} s, n = {len(runs)}, test accuracy {accuracy:.2%}"


def format_predictions(name: str, speed: dict[str, float]) -> str:
    """What time_predictions found, as a line of text."""
    in_batches = f"{speed['digits_per_second']:,.0f} digits/s in batches"
    return f"{name:24} predictions: {speed['one_digit_ms']:.2f} ms for one digit, {in_batches}"


def noise_warning(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A line that names the recipes whose times spread too much; [] without any."""
    return harness.noise_warning(
        name for name, each in runs.items() if harness.is_noisy([run["seconds"] for run in each])
    )
