"""What might help a step of 784-512-256-10 on two threads: Adam by layer, two products side by side. Nothing is kept.

    GOMP_SPINCOUNT=300000 python -m benchmarks.trials.two_threads

Adam by layer moves a layer's weights right after their gradient, while that is in the cache. Side by side, the two
gradients of the layer 512-256 are computed by one thread each instead of one after the other by both. Needs a quiet
machine with two cores and takes a minute. The record is results/trials/two_threads.json; docs/experiments.md tells it.
"""

import os
import queue
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import harness
from digit_recognizer import data, models, recipes, records, training
from digit_recognizer._fused_mlp import FusedMLP
from digit_recognizer.cli.parser import Parser, run_main
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.device import choose_device

ROUNDS, DIGITS, PRODUCTS = 20, 6016, 3000  # 94 steps a round


class Layers(list):
    """The layers of a FusedMLP, which takes them one by one on its way back: each time, the one before is complete."""

    on_complete: Callable[[int], None]

    def __getitem__(self, number: Any) -> Any:
        if 0 <= number < len(self) - 1:
            self.on_complete(number + 1)
        return super().__getitem__(number)


def step_of(model: nn.Module, recipe: Recipe, by_layer: bool) -> Callable[[Tensor, Any], None]:
    """A training step: gradients, then Adam; by_layer, Adam for each layer right after its gradients."""
    forward_backward = FusedMLP(model)
    if not by_layer:
        optimizer = training.make_optimizer(model, recipe)
        return lambda pixels, loss: (forward_backward(pixels, loss), optimizer.step())[1]
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    optimizers = [training.make_optimizer(layer, recipe) for layer in linear]
    forward_backward.layers = Layers(forward_backward.layers)
    forward_backward.layers.on_complete = lambda number: optimizers[number].step()
    return lambda pixels, loss: (forward_backward(pixels, loss), optimizers[0].step())[1]


def time_steps(train: data.Split, recipe: Recipe, rounds: int) -> dict[str, float]:
    """Median microseconds of a step of each kind, round by round in turn. Raises ValueError where weights differ."""
    built = {name: models.build(recipe) for name in ("after all", "by layer")}
    steps = {name: step_of(model, recipe, name == "by layer") for name, model in built.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds):
        for name, step in steps.items():
            generator = torch.Generator().manual_seed(number)
            for images, labels in data.batches(train, recipe.batch_size, generator):
                pixels, loss = data.to_pixels(images), training.CrossEntropy(labels, len(labels), 0.0)
                began = time.perf_counter()
                step(pixels, loss)
                seconds[name].append(time.perf_counter() - began)
    if len({provenance.weights_hash(model) for model in built.values()}) > 1:
        raise ValueError("the weights differ")
    return {name: 1e6 * statistics.median(times) for name, times in seconds.items()}


def time_products(times: int) -> dict[str, float]:
    """Median microseconds of the two gradients of a layer 512-256, batches of 64: in turn by two threads; side by side.

    The second thread gets its work through a queue and answers through another, which is in the time.
    """
    generator = torch.Generator().manual_seed(0)
    error, values, weight = (torch.randn(*shape, generator=generator) for shape in ((64, 256), (64, 512), (256, 512)))
    weight_gradient, value_gradient = torch.empty_like(weight), torch.empty_like(values)
    todo, done = queue.SimpleQueue[bool](), queue.SimpleQueue[bool]()

    def first() -> None:
        torch.mm(error.t(), values, out=weight_gradient)

    def second() -> None:
        torch.mm(error, weight, out=value_gradient)

    def work() -> None:
        torch.set_num_threads(1)
        while todo.get():
            first()
            done.put(True)

    def in_turn() -> None:
        first()
        second()

    def side_by_side() -> None:
        todo.put(True)
        second()
        done.get()

    def median(function: Callable[[], Any]) -> float:
        seconds = []
        for _ in range(times):
            began = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - began)
        return 1e6 * statistics.median(seconds)

    torch.set_num_threads(2)
    result = {"in turn": median(in_turn)}
    torch.set_num_threads(1)
    worker = threading.Thread(target=work)
    worker.start()
    result["side by side"] = median(side_by_side)
    todo.put(False)
    worker.join()
    return result


def main() -> None:
    """Time both, write the record, print it."""
    parser = Parser(prog="python -m benchmarks.trials.two_threads", description=__doc__)
    options = harness.parse_trial(parser)
    recipe, result = recipes.get(), {}
    for threads in (1, 2):
        choose_device("cpu", threads)
        train = data.load("mnist", options.data_dir).train.take(torch.arange(DIGITS))
        result[f"step, threads: {threads}"] = time_steps(train, recipe, ROUNDS)
    result["two gradients of 512-256"] = time_products(PRODUCTS)
    what = {"what": "median microseconds", "steps": ROUNDS * -(-DIGITS // recipe.batch_size), "products": PRODUCTS}
    made = {
        "spin_count": os.environ.get("GOMP_SPINCOUNT"),
        "made_with": provenance.collect(models.build(recipe)) | {"threads": [1, 2]},
    }
    for name, microseconds in result.items():
        print(f"{name}: " + ", ".join(f"{kind} {value:.0f}" for kind, value in microseconds.items()))
    records.save(Path(options.out) / "trials" / "two_threads.json", what | result | made)


if __name__ == "__main__":
    run_main(main)
