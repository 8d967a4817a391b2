"""What soft labels, and several views of a digit, do for the best single network, on thirds of the training digits.

    PYTHONPATH=src:. python -m benchmarks.trials.soft_labels --device cuda --processes 15

The labels of some training digits are wrong or disputable. Here a network learns probabilities instead: those that
others, which have not seen the digit, give it. The teachers of a held-out third have not seen that third either: each
is trained on three quarters of the other two thirds, and labels the last quarter.
Each network reads its third once as it is, and once moved, turned and scaled a little (the mean of the logits). The
test digits choose nothing. Saved in results/trials/soft_labels.json after each training.
"""

import argparse
import dataclasses
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import harness
from benchmarks.trials.best_network import VARIANTS as SINGLE
from benchmarks.trials.best_network import add_options
from digit_recognizer import data, evaluation, models, records, training
from digit_recognizer.cli.parser import Parser, run_main
from digit_recognizer.data.augmentation import augment_batch, warp
from digit_recognizer.data.digits import Split
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.recognition import calibration
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.text import columns
from digit_recognizer.study import cross_validation, executors

PARTS = 4  # of two thirds, each labelled by the networks that were trained on the others
TEACHER = SINGLE["twice_as_wide"]
WIDE = SINGLE["twice_as_wide_and_long"]
# Recipe, and the weight of the soft labels beside MNIST's.
VARIANTS: dict[str, tuple[Recipe, float]] = {
    "wide": (WIDE, 0),
    "wide_soft_1": (dataclasses.replace(WIDE, label_smoothing=0.0), 1.0),
    "wide_soft_half": (dataclasses.replace(WIDE, label_smoothing=0.0), 0.5),
    "wide_soft_half_smoothed": (WIDE, 0.5),
    "best": (SINGLE["cnn_best"], 0),
    "best_soft_half": (dataclasses.replace(SINGLE["cnn_best"], label_smoothing=0.0), 0.5),
    "wide_residual": (SINGLE["wide_residual"], 0),
}
# Degrees counterclockwise, scale, and shifts to the right and down in pixels.
VIEWS = [
    (0, 1, 0, 0), (0, 1, 1, 0), (0, 1, -1, 0), (0, 1, 0, 1), (0, 1, 0, -1),
    (7, 1, 0, 0), (-7, 1, 0, 0), (0, 1.06, 0, 0), (0, 0.94, 0, 0),
]  # fmt: skip
SETS = {"one": [0], "shifts": [0, 1, 2, 3, 4], "turned": [0, 5, 6], "scaled": [0, 7, 8], "all": [*range(9)]}


def fit(model: nn.Module, split: Split, targets: Tensor, recipe: Recipe, seed: int) -> float:
    """Train as training.fit does, on probabilities, float32 (n, 10). Returns seconds."""
    began = time.perf_counter()
    device = next(model.parameters()).device
    (images, labels), targets, total = (part.to(device) for part in split), targets.to(device), len(split.labels)
    by_place = Split(images, torch.arange(total, device=device))
    state = training.TrainState.create(model, recipe, seed)
    model.train()
    for epoch in range(1, recipe.epochs + 1):
        for step, (batch, places) in enumerate(data.batches(by_place, recipe.batch_size, state.generator)):
            pixels, _ = augment_batch(data.to_pixels(batch), labels[places], recipe, epoch, state.generator)
            progress = (epoch - 1 + (step + 0.5) * recipe.batch_size / total) / recipe.epochs
            training.set_learning_rate(state.optimizer, recipe, progress)
            loss = training.CrossEntropy(targets[places], len(places), recipe.label_smoothing)
            state.forward_backward(pixels, loss)
            state.optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


@torch.inference_mode()
def predict_views(model: nn.Module, images: Tensor) -> Tensor:
    """Logits of each view: float32 (views, n, 10), on the CPU."""
    model.eval()
    device = next(model.parameters()).device
    logits = []
    for angle, scale, right, down in VIEWS:
        cos, sin = math.cos(math.radians(angle)) / scale, math.sin(math.radians(angle)) / scale
        matrix = torch.tensor([[cos, -sin, -right / 14], [sin, cos, -down / 14]], device=device)
        parts = []
        for part in images.split(1000):
            pixels = data.to_pixels(part.to(device))
            if (angle, scale, right, down) != VIEWS[0]:
                grid = torch.nn.functional.affine_grid(matrix.expand(len(part), 2, 3), [len(part), 1, 28, 28],
                                                       align_corners=False)  # fmt: skip
                pixels = warp(pixels, grid, "bicubic")
            parts.append(model(pixels).float().cpu())
        logits.append(torch.cat(parts))
    return torch.stack(logits)


def one_hot(labels: Tensor) -> Tensor:
    """Labels as probabilities, float32 (n, 10)."""
    return torch.nn.functional.one_hot(labels, 10).float()


def teach(fold: int, part: int, repeat: int, options: dict[str, Any]) -> tuple[int, int, int, np.ndarray]:
    """Probabilities of one part of the two thirds that are not held out, by a network that has not seen it."""
    device = choose_device(options["device"], threads=1)
    train = cross_validation.split_fold(data.load("mnist", options["data_dir"]).train, fold)[0]
    train, held_out, _ = cross_validation.split_fold(train, part, PARTS, few=options["quick"])
    recipe = harness.shorten(TEACHER) if options["quick"] else TEACHER
    seed = 1000 + 100 * repeat + 10 * fold + part
    model = models.build(recipe, seed).to(device)
    fit(model, train, one_hot(train.labels), recipe, seed)
    logits = predict_views(model, held_out.images).mean(0)
    return fold, part, repeat, probabilities(logits, held_out.labels).numpy()


def probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """At the temperature that suits these digits."""
    return (logits / calibration.fit_temperature(logits, labels)).softmax(1)


def count(name: str, fold: int, repeat: int, soft: np.ndarray | None, options: dict[str, Any]) -> tuple[str, Any]:
    """Train a variant on two thirds, and count on the third. soft: of these two thirds, float32 (n, 10)."""
    device, seed = choose_device(options["device"], threads=1), cross_validation.seed_of(fold, repeat)
    digits = data.load("mnist", options["data_dir"])
    train, held_out, indices = cross_validation.split_fold(digits.train, fold, few=options["quick"])
    recipe, weight = VARIANTS[name]
    recipe = harness.shorten(recipe) if options["quick"] else recipe
    targets = one_hot(train.labels)
    if soft is not None:
        targets = torch.lerp(targets, torch.tensor(soft)[: len(targets)], weight)
    model = models.build(recipe, seed).to(device)
    seconds = fit(model, train, targets, recipe, seed)
    views = predict_views(model, held_out.images)
    return name, {
        "seed": seed,
        "fold": fold,
        "seconds": seconds,
        "views": {of: score(views[chosen].mean(0), held_out.labels) for of, chosen in SETS.items()},
        "wrong": indices[views[0].argmax(1) != held_out.labels].tolist(),
        "weights": provenance.weights_hash(model),
        "made_with": provenance.collect(model, recipe.precision),
    }  # fmt: skip


def score(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Wrong predictions, and the loss at the temperature that suits these digits."""
    temperature = calibration.fit_temperature(logits, labels)
    loss = evaluation.score(logits / temperature, labels).mean_loss
    return {"wrong": int((logits.argmax(1) != labels).sum()), "calibrated_loss": loss, "temperature": temperature}


def main() -> None:
    """Teachers first, then the variants; each is saved as it ends."""
    options = _parse()
    given = {name: getattr(options, name) for name in ("device", "data_dir", "quick")}
    digits = data.load("mnist", options.data_dir)
    results: dict[str, list[Any]] = {name: [] for name in VARIANTS}
    folds, repeats = range(cross_validation.FOLDS), range(options.seeds)
    with executors.open_executor(workers=options.processes) as executor:
        jobs = [(fold, part, repeat, given) for repeat in repeats for fold in folds for part in range(PARTS)]
        taught = {(fold, part, repeat): found for fold, part, repeat, found in executor(teach, jobs)}
        soft = {}
        for fold in folds:
            train = cross_validation.split_fold(digits.train, fold)[0]
            soft[fold] = np.zeros((len(train.labels), 10), np.float32)
            for part in range(PARTS):
                mean = np.mean([taught[fold, part, repeat] for repeat in repeats], 0)
                places = cross_validation.split_fold(train, part, PARTS)[2].numpy()
                soft[fold][places[: len(mean)]] = mean
        trainings = [
            (name, fold, repeat, soft[fold] if weight else None, given)
            for repeat in repeats
            for name, (_, weight) in VARIANTS.items()
            for fold in folds
        ]
        for name, result in executor(count, trainings):
            results[name].append(result)
            print(f"{name}, seed {result['seed']}: {result['views']['one']['wrong']} wrong", flush=True)
            if not options.quick:
                records.save(Path(options.out) / "trials" / "soft_labels.json", results)
    print(table(results), flush=True)


def table(results: dict[str, list[Any]]) -> str:
    """Wrong predictions of 20,000 and calibrated loss in thousandths, means; for each set of views."""
    rows = [("variant", "trainings", *SETS)]
    for name, trainings in results.items():
        scores = {of: [each["views"][of] for each in trainings] for of in SETS}
        rows.append((name, str(len(trainings)), *(_means(each) for each in scores.values())))
    return columns(rows)


def _means(scores: list[dict[str, float]]) -> str:
    wrong, loss = (statistics.mean(each[field] for each in scores) for field in ("wrong", "calibrated_loss"))
    return f"{wrong:.1f}, {1000 * loss:.2f}"


def _parse() -> argparse.Namespace:
    parser = Parser(prog="python -m benchmarks.trials.soft_labels", description=__doc__)
    add_options(parser, seeds=2)
    return harness.parse_trial(parser)


if __name__ == "__main__":
    run_main(main)
