"""Our loop beside the usual one: the same network, batches and arithmetic, in turn, in one run."""

import itertools
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import harness
from digit_recognizer import data, models, training
from digit_recognizer._fused_mlp import FusedMLP
from digit_recognizer.recipes import get
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.device import choose_device


def run(out: str | Path, data_dir: str | Path | None = None, rounds: int = 5) -> None:
    """Time an epoch of the default recipe by each loop and thread setting, print it, and write out/benchmark.json."""
    harness.check_can_keep(out)
    recipe = get()
    choose_device("cpu", torch.get_num_threads())  # before the digits are loaded, which takes several threads
    digits = data.load("mnist", data_dir)
    usual = usual_set(data_dir, recipe)
    loops: dict[str, Callable[[], float]] = {
        "ours": lambda: our_epoch(digits.train, recipe),
        "usual": lambda: usual_epoch(usual, recipe),
    }
    settings = sorted({1, torch.get_num_threads()})
    seconds = in_turn(loops, settings, rounds)
    fastest = {name: min(settings, key=lambda threads: statistics.median(seconds[name][threads])) for name in loops}
    best = {name: seconds[name][fastest[name]] for name in loops}
    torch.set_num_threads(fastest["ours"])
    result = {
        "what": f"seconds for one epoch of {recipe.name}, {len(digits.train.labels):,} digits of MNIST, float32",
        "rounds": rounds,
        "seconds": {name: {str(threads): times for threads, times in of.items()} for name, of in seconds.items()},
        "fastest_threads": fastest,
        "median": {name: statistics.median(times) for name, times in best.items()},
        "ratios": [usual / ours for ours, usual in zip(best["ours"], best["usual"], strict=True)],
        "parts_of_ours": parts(digits.train, recipe),
        "md5": dict(digits.md5),
        "spin_count": os.environ.get("GOMP_SPINCOUNT"),
        "made_with": provenance.collect(models.build(recipe)),
    }
    harness.keep(out, result)
    print(table(result))


def in_turn(
    loops: dict[str, Callable[[], float]], settings: list[int], rounds: int
) -> dict[str, dict[int, list[float]]]:
    """Each loop at each thread setting, one after the other, as often as there are rounds, after one unmeasured."""
    seconds: dict[str, dict[int, list[float]]] = {name: {threads: [] for threads in settings} for name in loops}
    for number in range(rounds + 1):
        for name, loop in loops.items():
            for threads in settings:
                torch.set_num_threads(threads)
                took = loop()
                if number:
                    seconds[name][threads].append(took)
    return seconds


def our_epoch(train: data.Split, recipe: Recipe) -> float:
    """Seconds for one epoch of our loop, with the products that a run would choose."""
    choose_device("cpu", torch.get_num_threads())
    return training.train_one_epoch(training.TrainState.create(models.build(recipe), recipe, seed=0), train, recipe)[0]


def usual_set(data_dir: str | Path | None, recipe: Recipe) -> Any:
    """MNIST's training set with the transforms that the published projects use."""
    from torchvision import datasets, transforms

    steps = [transforms.ToTensor(), transforms.Normalize((recipe.mean,), (recipe.std,))]
    return datasets.MNIST(data.root_of(data_dir), train=True, transform=transforms.Compose(steps))


def usual_model(recipe: Recipe, seed: int = 0) -> nn.Sequential:
    """The recipe's network for pixels that are normalised already."""
    return nn.Sequential(*list(models.build(recipe, seed).children())[1:])


def usual_epoch(dataset: Any, recipe: Recipe) -> float:
    """Seconds for one epoch of the usual loop, with PyTorch's own default products.

    Tiny numbers count as nought, as in ours: threads that are there keep to it. That is in its favour.
    """
    torch.set_float32_matmul_precision("highest")
    return usual_training(dataset, recipe, 1)[1][0]


def usual_training(dataset: Any, recipe: Recipe, epochs: int) -> tuple[nn.Module, list[float]]:
    """The loop as the published projects write it: DataLoader, unfused Adam, item(). Returns seconds of each epoch."""
    loader = torch.utils.data.DataLoader(dataset, batch_size=recipe.batch_size, shuffle=True)
    model = usual_model(recipe)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    running, correct, seconds = 0.0, 0, []
    for _ in range(epochs):
        began = time.perf_counter()
        for images, labels in loader:
            optimizer.zero_grad()
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
            correct += (logits.argmax(1) == labels).sum().item()
        seconds.append(time.perf_counter() - began)
    return model, seconds


def parts(train: data.Split, recipe: Recipe) -> dict[str, float]:
    """Where an epoch of our loop goes: seconds in each of its steps, timed one by one."""
    choose_device("cpu", torch.get_num_threads())
    model = models.build(recipe)
    optimizer = training.make_optimizer(model, recipe)
    forward_backward = FusedMLP(model)
    spent = dict.fromkeys(("batch", "gradients", "step"), 0.0)
    clock = time.perf_counter
    last = clock()
    for images, labels in data.batches(train, recipe.batch_size, torch.Generator().manual_seed(0)):
        pixels, loss = data.to_pixels(images), training.CrossEntropy(labels, len(labels), recipe.label_smoothing)
        spent["batch"] += (now := clock()) - last
        forward_backward(pixels, loss)
        spent["gradients"] += (then := clock()) - now
        optimizer.step()
        spent["step"] += (last := clock()) - then
    return spent


def lower_bound_epochs(recipe: Recipe, digits: int) -> list[float]:
    """Seconds of each epoch of a fully connected recipe's bare products and optimiser steps; nothing is trained.

    Holds, for each full batch, the products of all layers forward and backward, on buffers made before, always the
    same and so in the cache; and one pass of fused Adam that reads weights, gradients and two moments, each in one
    piece, and writes all but the gradients. Leaves out: choosing and copying batches, normalisation, adding and
    summing biases, ReLU, the loss, autograd, the last smaller batch, counting and showing.
    """
    weights, gradients, first, second = (torch.rand(recipe.parameter_count) / 100 for _ in range(4))
    values, errors = ([torch.rand(recipe.batch_size, width) for width in recipe.widths] for _ in range(2))
    products, start = [], 0  # of each: left, right, and where to
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(recipe.widths)):
        part = slice(start, start + inputs * outputs)
        matrix, gradient = weights[part].view(outputs, inputs), gradients[part].view(outputs, inputs)
        start = part.stop + outputs
        products += [(values[layer], matrix.t(), values[layer + 1]), (errors[layer + 1].t(), values[layer], gradient)]
        products += [(errors[layer + 1], matrix, errors[layer])] if layer else []  # pixels need no gradient
    # A learning rate of nought leaves the weights as they are; the arithmetic and the memory's traffic are the same.
    settings: dict[str, Any] = {"lr": 0.0, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "eps": 1e-8}
    adam: Any = ([weights], [gradients], [first], [second], [], [torch.ones(())])
    stamps = [time.perf_counter()]
    for _ in range(recipe.epochs):
        for _ in range(digits // recipe.batch_size):
            for left, right, out in products:
                torch.mm(left, right, out=out)
            torch._fused_adam_(*adam, amsgrad=False, maximize=False, **settings)
        stamps.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(stamps)]


def table(result: dict[str, Any]) -> str:
    """A benchmark's result as text."""
    lines = [f"{result['what']}, median of {result['rounds']} rounds (lowest to highest)"]
    busy = []
    for name, of in result["seconds"].items():
        for threads, times in of.items():
            lines.append(f"{name:6} {threads:>2} threads  {harness.spread(times)} s")
            busy += [f"{name} with {threads} threads"] if harness.differ(times) else []
    lines.append(f"each at its faster setting, usual / ours: {harness.spread(result['ratios'])}")
    total = sum(result["parts_of_ours"].values())
    shares = ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in result["parts_of_ours"].items())
    return "\n".join([*lines, f"an epoch of ours is made of: {shares}", *harness.too_busy(busy)])
