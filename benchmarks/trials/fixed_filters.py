"""A first layer of fixed filters for `cnn_in_seconds`: its output is computed once, and steps work on 6x6 maps only.

    python -m benchmarks.trials.fixed_filters --threads 2

The filters are the first principal components of patches of training digits, whitened weakly, each with both signs.
Variants are counted on parts of MNIST's training digits that they have not seen. The one in CHOSEN is then timed in
turns with `cnn_in_seconds`, from the call to the trained network, and read on the test digits, which choose nothing.
Saved in results/trials/fixed_filters.json. It takes six minutes.
"""

import argparse
import functools
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import harness, training_time
from digit_recognizer import data, evaluation, models, recipes, training
from digit_recognizer.cli.parser import Parser, positive, run_main
from digit_recognizer.data import Digits, Split
from digit_recognizer.runtime.device import choose_device, training_precision
from digit_recognizer.study import cross_validation

RECIPE = recipes.get("cnn_in_seconds")
NORMALIZE = models.Normalize(RECIPE.mean, RECIPE.std)
SIZE, STRIDE, POOL = 6, 2, 2  # of the filters, as in the recipe's first layer
PATCHES = 500  # digits from whose patches the filters are computed
MIN_STD = 0.1  # of a patch; the others are paper
PARTS = 12  # of 5,000 training digits, one of which is held out
SEED = 200  # of the first part; those of tables start from 0


class Variant(NamedTuple):
    """filters: principal components. widths: channels of the next two layers. fraction: of the digits, each once.

    whitening: by which the largest variance is multiplied and added to all; more whitens less.
    """

    filters: int = 16
    widths: tuple[int, int] = (32, 64)
    fraction: float = 0.75
    learning_rate: float = 0.4
    whitening: float = 0.1


CHOSEN = Variant()
VARIANTS = {
    "chosen": CHOSEN,
    "an epoch": Variant(fraction=1.0),
    "0.65 of an epoch": Variant(fraction=0.65),
    "learning rate 0.2": Variant(learning_rate=0.2),
    "learning rate 0.3": Variant(learning_rate=0.3),
    "more whitening": Variant(whitening=0.01),
    "less whitening": Variant(whitening=0.4),
    "12 filters": Variant(filters=12),
    "48 channels in the second layer": Variant(widths=(48, 64)),
}


def find_filters(pixels: Tensor, variant: Variant) -> Tensor:
    """The filters: float32 (n, 1, SIZE, SIZE)."""
    patches = F.unfold(NORMALIZE(pixels[:PATCHES]), SIZE, stride=STRIDE).transpose(1, 2).reshape(-1, SIZE * SIZE)
    patches = patches[patches.std(1) > MIN_STD]
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))  # in ascending order
    values, vectors = values.flip(0), vectors.flip(1)[:, : variant.filters]
    scale = (values[: variant.filters] + variant.whitening * values[0]).sqrt()
    return (vectors / scale).T.reshape(-1, 1, SIZE, SIZE)


@torch.no_grad()
def compute_maps(images: Tensor, filters: Tensor, dtype: torch.dtype) -> Tensor:
    """The pooled outputs of the filters with both signs: (n, 2 * filters, 6, 6), as the next layer takes them."""
    maps, starts = [], range(0, STRIDE * POOL, STRIDE)
    for part in images.split(1000):
        pixels = NORMALIZE(data.to_pixels(part)).to(dtype)
        # One convolution for each place in a pooled square: their maxima are taken of whole tensors, side by side.
        outputs = [
            F.conv2d(pixels[:, :, top:, left:], filters.to(dtype), stride=STRIDE * POOL)
            for top in starts
            for left in starts
        ]
        highest, lowest = functools.reduce(torch.maximum, outputs), functools.reduce(torch.minimum, outputs)
        both = torch.cat([highest, -lowest], dim=1).relu_()
        maps.append(both.contiguous(memory_format=torch.channels_last))
    return torch.cat(maps)


class Trained(NamedTuple):
    """What a training gives, its seconds, and those of them until the maps are computed."""

    model: nn.Module
    filters: Tensor
    seconds: float
    seconds_of_maps: float

    def count_wrong(self, split: Split) -> int:
        """Wrong predictions."""
        maps = compute_maps(split.images, self.filters, torch.float32)
        with torch.no_grad():
            return int((self.model(maps).argmax(1) != split.labels).sum())


def train(split: Split, variant: Variant, seed: int) -> Trained:
    """Train from the images on, in the precision and with the settings of the recipe."""
    began = time.perf_counter()
    dtype = getattr(torch, training_precision(RECIPE.precision, torch.device("cpu")))
    count = int(variant.fraction * len(split.labels)) // RECIPE.batch_size * RECIPE.batch_size
    order = torch.randperm(len(split.labels), generator=torch.Generator().manual_seed(seed))[:count]
    chosen = split.take(order)
    filters = find_filters(data.to_pixels(chosen.images[:PATCHES]), variant)
    maps = compute_maps(chosen.images, filters, dtype)
    seconds_of_maps = time.perf_counter() - began
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = build(2 * variant.filters, *variant.widths)
    optimizer = training.make_optimizer(model, RECIPE)
    steps = count // RECIPE.batch_size
    for step, (inputs, labels) in enumerate(
        zip(maps.split(RECIPE.batch_size), chosen.labels.split(RECIPE.batch_size), strict=True)
    ):
        for group in optimizer.param_groups:
            group["lr"] = variant.learning_rate * training.triangle((step + 0.5) / steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = model(inputs)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=RECIPE.label_smoothing)
        model.zero_grad()
        loss.backward()
        optimizer.step()
    return Trained(model.eval(), filters, time.perf_counter() - began, seconds_of_maps)


def build(channels: int, second: int, third: int) -> nn.Module:
    """The layers after the fixed ones, those of the recipe."""
    return nn.Sequential(
        nn.Conv2d(channels, second, 3, padding=1, bias=False), nn.BatchNorm2d(second), nn.ReLU(inplace=True),
        nn.Conv2d(second, third, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(third),
        nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(third * 9, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip


def count_ours(split: Split, held_out: Split, seed: int) -> int:
    """Wrong predictions of the recipe as it is."""
    digits = Digits("mnist", split, None, held_out.take(torch.arange(1)), {})
    model, _ = training.fit(models.build(RECIPE, seed), digits, RECIPE, seed, quiet=True)
    return int((evaluation.predict(model, held_out.images).argmax(1) != held_out.labels).sum())


def main() -> None:
    """Count, time, print and save."""
    options = _parse()
    from digit_recognizer import records
    from digit_recognizer.runtime import provenance

    choose_device("cpu", options.threads)
    digits = data.load("mnist", options.data_dir)
    parts = [cross_validation.split_fold(digits.train, part, PARTS)[:2] for part in range(options.parts)]
    count = sum(len(held_out.labels) for _, held_out in parts)
    wrong: dict[str, list[int]] = {RECIPE.name: [count_ours(*part, SEED + number) for number, part in enumerate(parts)]}
    print(f"{RECIPE.name}: {sum(wrong[RECIPE.name])} wrong of {count:,}", flush=True)
    for name, variant in VARIANTS.items():
        wrong[name] = [
            train(split, variant, SEED + number).count_wrong(part) for number, (split, part) in enumerate(parts)
        ]
        print(f"{name}: {sum(wrong[name])} wrong of {count:,}", flush=True)
    ours, fixed, maps, accuracies = [], [], [], []
    for seed in range(options.seeds):
        ours.append(training_time.time_training(RECIPE, digits, seed, options.threads))
        trained = train(digits.train, CHOSEN, seed)
        fixed.append(trained.seconds)
        maps.append(trained.seconds_of_maps)
        accuracies.append(1 - trained.count_wrong(digits.test) / len(digits.test.labels))
    ratios = [mine / each["seconds"] for mine, each in zip(fixed, ours, strict=True)]
    print(f"test accuracy {statistics.mean(accuracies):.2%}, n = {len(accuracies)}")
    print(f"{RECIPE.name}: {harness.format_spread([each['seconds'] for each in ours])} s")
    print(f"fixed filters: {harness.format_spread(fixed)} s, {harness.format_spread(ratios)} times")
    print(f"of these for the maps: {harness.format_spread(maps)} s")
    result: dict[str, Any] = {
        "wrong": wrong, "of": count, "accuracies": accuracies, "seconds": fixed, "seconds_of_maps": maps,
        "ratios": ratios,
        RECIPE.name: ours, "made_with": provenance.collect(models.build(RECIPE), RECIPE.precision),
    }  # fmt: skip
    records.save(Path(options.out) / "trials" / "fixed_filters.json", result)


def _parse() -> argparse.Namespace:
    parser = Parser(prog="python -m benchmarks.trials.fixed_filters", description=__doc__)
    parser.add_argument("--parts", metavar="N", type=positive, default=8, help="of 5,000 digits (default: 8)")
    parser.add_argument(
        "--seeds", metavar="N", type=positive, default=30, help="trainings that are timed (default: 30)"
    )
    parser.add_argument("--threads", metavar="N", type=positive, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--out", metavar="DIR", default="results", help="folder of trials/ (default: results)")
    parser.add_argument("--data-dir", metavar="DIR", help="folder of MNIST/raw")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
