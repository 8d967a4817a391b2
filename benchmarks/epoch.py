"""An epoch of our loop beside the usual DataLoader loop, in turn: the same network, batches and arithmetic."""

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
    """Time an epoch of the default recipe by both loops, with one thread and with all; print it and save it."""
    harness.check_writable(out)
    recipe = get()
    choose_device("cpu", torch.get_num_threads())  # before the digits are loaded, which uses several threads
    digits = data.load("mnist", data_dir)
    dataset = dataloader_dataset(data_dir, recipe)
    loops: dict[str, Callable[[], float]] = {
        "ours": lambda: our_epoch(digits.train, recipe),
        "dataloader": lambda: dataloader_epoch(dataset, recipe),
    }
    settings = sorted({1, torch.get_num_threads()})
    seconds = time_in_turn(loops, settings, rounds)
    fastest = {name: min(settings, key=lambda threads: statistics.median(seconds[name][threads])) for name in loops}
    best = {name: seconds[name][fastest[name]] for name in loops}
    torch.set_num_threads(fastest["ours"])
    result = {
        "what": f"seconds for one epoch of {recipe.name}, {len(digits.train.labels):,} digits of MNIST, float32",
        "rounds": rounds,
        "seconds": {name: {str(threads): times for threads, times in each.items()} for name, each in seconds.items()},
        "fastest_threads": fastest,
        "median": {name: statistics.median(times) for name, times in best.items()},
        "ratios": [theirs / ours for ours, theirs in zip(best["ours"], best["dataloader"], strict=True)],
        "parts_of_ours": parts(digits.train, recipe),
        "md5": dict(digits.md5),
        "spin_count": os.environ.get("GOMP_SPINCOUNT"),
        "made_with": provenance.collect(models.build(recipe)),
    }
    harness.save_results(out, result)
    print(table(result))


def time_in_turn(
    loops: dict[str, Callable[[], float]], settings: list[int], rounds: int
) -> dict[str, dict[int, list[float]]]:
    """Seconds of each loop at each number of threads, one after the other, round by round, after a warm-up round."""
    seconds: dict[str, dict[int, list[float]]] = {name: {threads: [] for threads in settings} for name in loops}
    for number in range(rounds + 1):
        for name, loop in loops.items():
            for threads in settings:
                torch.set_num_threads(threads)
                elapsed = loop()
                if number:
                    seconds[name][threads].append(elapsed)
    return seconds


def our_epoch(train: data.Split, recipe: Recipe, device: str = "cpu") -> float:
    """Seconds for one epoch of our loop, with the matmul precision that a run chooses; the digits lie on the device."""
    chosen = choose_device(device, torch.get_num_threads())
    state = training.TrainState.create(models.build(recipe).to(chosen), recipe, seed=0)
    return training.train_one_epoch(state, data.Split(*(part.to(chosen) for part in train)), recipe)[0]


def dataloader_dataset(data_dir: str | Path | None, recipe: Recipe) -> Any:
    """MNIST's training set with the transforms that the published projects use."""
    from torchvision import datasets, transforms

    steps = [transforms.ToTensor(), transforms.Normalize((recipe.mean,), (recipe.std,))]
    return datasets.MNIST(data.root_of(data_dir), train=True, transform=transforms.Compose(steps))


def plain_model(recipe: Recipe, seed: int = 0) -> nn.Sequential:
    """The recipe's network for normalised pixels."""
    return nn.Sequential(*list(models.build(recipe, seed).children())[1:])


def dataloader_epoch(dataset: Any, recipe: Recipe) -> float:
    """Seconds for one epoch of the DataLoader loop, with PyTorch's default matmul precision.

    Denormals are flushed to zero as in our loop, since existing threads keep that setting. This is in its favour.
    """
    torch.set_float32_matmul_precision("highest")
    return train_with_dataloader(dataset, recipe, 1)[1][0]


def train_with_dataloader(dataset: Any, recipe: Recipe, epochs: int) -> tuple[nn.Module, list[float]]:
    """The loop as the published projects write it: DataLoader, unfused Adam, item(). Returns seconds of each epoch."""
    loader = torch.utils.data.DataLoader(dataset, batch_size=recipe.batch_size, shuffle=True)
    model = plain_model(recipe)
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
    """Seconds of an epoch in each part of our loop: making batches, gradients, optimiser steps."""
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
    """Seconds of each epoch of nothing but an MLP's matrix products and Adam's memory traffic; nothing is trained.

    For each full batch: the forward and backward products of all layers, on fixed buffers that stay in the cache, and
    one pass of fused Adam over weights, gradients and moments, each in one piece. Left out: batches, normalisation,
    biases, ReLU, the loss, autograd, the smaller last batch and the metrics.
    """
    weights, gradients, first, second = (torch.rand(recipe.parameter_count) / 100 for _ in range(4))
    activations, errors = ([torch.rand(recipe.batch_size, width) for width in recipe.widths] for _ in range(2))
    products, start = [], 0  # of each product: left, right, out
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(recipe.widths)):
        part = slice(start, start + inputs * outputs)
        matrix, gradient = weights[part].view(outputs, inputs), gradients[part].view(outputs, inputs)
        start = part.stop + outputs
        products.append((activations[layer], matrix.t(), activations[layer + 1]))
        products.append((errors[layer + 1].t(), activations[layer], gradient))
        products += [(errors[layer + 1], matrix, errors[layer])] if layer else []  # pixels need no gradient
    # A learning rate of zero keeps the weights; arithmetic and memory traffic are the same.
    settings: dict[str, Any] = {"lr": 0.0, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "eps": 1e-8}
    adam: Any = ([weights], [gradients], [first], [second], [], [torch.ones(())])
    stamps = [time.perf_counter()]
    for _ in range(recipe.epochs):
        for _ in range(digits // recipe.batch_size):
            for left, right, product in products:
                torch.mm(left, right, out=product)
            torch._fused_adam_(*adam, amsgrad=False, maximize=False, **settings)
        stamps.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(stamps)]


def table(result: dict[str, Any]) -> str:
    """A result as text."""
    lines = [f"{result['what']}, median of {result['rounds']} rounds (lowest to highest)"]
    noisy = []
    for name, each in result["seconds"].items():
        for threads, times in each.items():
            lines.append(f"{name:10} {threads:>2} threads  {harness.format_spread(times)} s")
            noisy += [f"{name} with {threads} threads"] if harness.is_noisy(times) else []
    lines.append(f"each at its faster setting, dataloader / ours: {harness.format_spread(result['ratios'])}")
    total = sum(result["parts_of_ours"].values())
    shares = ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in result["parts_of_ours"].items())
    return "\n".join([*lines, f"parts of our epoch: {shares}", *harness.noise_warning(noisy)])
