"""Our loop beside the usual one: the same network, batches and arithmetic, in turn, in one run."""

import itertools
import json
import os
import statistics
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer import data, files, models, records, training
from digit_recognizer.errors import UserError
from digit_recognizer.recipe import Recipe
from digit_recognizer.recipes import get

SPREAD = 1.5  # slowest over fastest round of one loop, beyond which the machine was too busy to conclude from


def run(out: str | Path, data_dir: str | Path | None = None, rounds: int = 5) -> None:
    """Time an epoch of the default recipe by each loop and thread setting, print it, and write out/benchmark.json."""
    files.check_writable(out)
    kept(out)  # what cannot be kept beside the new numbers is said before the long run
    recipe = get()
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
        "spin_count": os.environ.get("GOMP_SPINCOUNT"),
        "made_with": records.provenance(models.build(recipe)),
    }
    keep(out, result)
    print(table(result))


def kept(out: str | Path) -> dict[str, Any]:
    """What stands in out/benchmark.json, nothing where there is none. Raises UserError for what is no result."""
    path = Path(out) / "benchmark.json"
    try:
        return dict(json.loads(path.read_text())) if path.exists() else {}
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not a benchmark's result; delete it and run again") from error


def keep(out: str | Path, part: dict[str, Any]) -> None:
    """Write these keys into out/benchmark.json; its others stay as they are."""
    files.write_atomically(Path(out) / "benchmark.json", (json.dumps(kept(out) | part, indent=1) + "\n").encode())


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
    training.choose_device("cpu", torch.get_num_threads())
    model = models.build(recipe)
    optimizer = training.make_optimizer(model, recipe)
    return training.train_one_epoch(model, train, recipe, optimizer, torch.Generator().manual_seed(0))[0]


def usual_set(data_dir: str | Path | None, recipe: Recipe) -> Any:
    """MNIST's training set with the transforms that the published projects use."""
    from torchvision import datasets, transforms

    root = data_dir or os.environ.get("DIGITS_DATA_DIR") or "data"
    steps = [transforms.ToTensor(), transforms.Normalize((recipe.mean,), (recipe.deviation,))]
    return datasets.MNIST(root, train=True, transform=transforms.Compose(steps))


def usual_model(recipe: Recipe, seed: int = 0) -> nn.Sequential:
    """The recipe's network for pixels that are normalised already."""
    return nn.Sequential(*list(models.build(recipe, seed))[1:])


def usual_epoch(dataset: Any, recipe: Recipe) -> float:
    """Seconds for one epoch of the usual loop, with PyTorch's own default products."""
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


def limit(recipe: Recipe, digits: int) -> list[float]:
    """Seconds of each epoch of what no loop goes below: the matrix products, and Adam's way through the memory.

    Holds, for each full batch, the products of all layers forward and backward, each by the faster of PyTorch's two
    libraries, on buffers made before, always the same and so in the cache; and one pass of fused Adam that reads
    weights, gradients and two moments, each in one piece, and writes all but the gradients. Leaves out: choosing and
    copying batches, normalisation, adding and summing biases, ReLU, the loss, autograd, the last smaller batch,
    counting and showing.
    """
    weights, gradients, first, second = (torch.rand(recipe.parameter_count) / 100 for _ in range(4))
    values, errors = ([torch.rand(recipe.batch_size, width) for width in recipe.widths] for _ in range(2))
    products, start = [], 0
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(recipe.widths)):
        part = slice(start, start + inputs * outputs)
        matrix, gradient = weights[part].view(outputs, inputs), gradients[part].view(outputs, inputs)
        start = part.stop + outputs
        products += [_product(values[layer], matrix.t(), values[layer + 1])]
        products += [_product(errors[layer + 1].t(), values[layer], gradient)]
        products += [_product(errors[layer + 1], matrix, errors[layer])] if layer else []  # pixels need no gradient
    # A learning rate of nought leaves the weights as they are; the arithmetic and the memory's traffic are the same.
    settings = {"lr": 0.0, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "eps": 1e-8}
    adam = ([weights], [gradients], [first], [second], [], [torch.ones(())])
    stamps = [time.perf_counter()]
    for _ in range(recipe.epochs):
        for _ in range(digits // recipe.batch_size):
            for product in products:
                product()
            torch._fused_adam_(*adam, amsgrad=False, maximize=False, **settings)
        stamps.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(stamps)]


def _product(left: Tensor, right: Tensor, out: Tensor) -> Callable[[], Tensor]:
    """left @ right by torch.mm, or, where it is there and a trial finds it faster, by oneDNN."""
    ways = [lambda: torch.mm(left, right, out=out)]
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        # MKL, behind torch.mm, reaches half of oneDNN's speed where the processor is not Intel's.
        ways.append(lambda: torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], ""))
    return min(ways, key=lambda way: min(timeit.repeat(way, number=20, repeat=5)))


def parts(train: data.Split, recipe: Recipe) -> dict[str, float]:
    """Where an epoch of our loop goes: seconds in each of its steps, timed one by one."""
    training.choose_device("cpu", torch.get_num_threads())
    model = models.build(recipe)
    optimizer = training.make_optimizer(model, recipe)
    spent = dict.fromkeys(("batch", "forward", "backward", "step"), 0.0)
    clock = time.perf_counter
    last = clock()
    for images, labels in data.batches(train, recipe.batch_size, torch.Generator().manual_seed(0)):
        pixels = data.to_pixels(images)
        spent["batch"] += (now := clock()) - last
        loss = F.cross_entropy(model(pixels), labels)
        spent["forward"] += (then := clock()) - now
        optimizer.zero_grad()
        loss.backward()
        spent["backward"] += (now := clock()) - then
        optimizer.step()
        spent["step"] += (last := clock()) - now
    return spent


def table(result: dict[str, Any]) -> str:
    """A benchmark's result as text."""
    lines = [f"{result['what']}, median of {result['rounds']} rounds (lowest to highest)"]
    busy = False
    for name, of in result["seconds"].items():
        for threads, times in of.items():
            busy |= max(times) > SPREAD * min(times)
            spread = f"({min(times):.2f} to {max(times):.2f})"
            lines.append(f"{name:6} {threads:>2} threads  {statistics.median(times):6.2f} s  {spread}")
    ratios = result["ratios"]
    lines.append(
        f"each at its faster setting, usual / ours: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )
    total = sum(result["parts_of_ours"].values())
    shares = ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in result["parts_of_ours"].items())
    lines.append(f"an epoch of ours is made of: {shares}")
    if busy:
        lines.append("the rounds differ too much to conclude from: the machine was busy, run it again")
    return "\n".join(lines)
