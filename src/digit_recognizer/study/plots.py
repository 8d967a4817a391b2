"""Figures of a study: accuracy against cost, published numbers against seeds, accuracy by epoch, augmentation."""

import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from digit_recognizer.data.augmentation import augment
from digit_recognizer.plots import QUIET, RIGHT, WRONG, tile
from digit_recognizer.recipes.recipe import Augmentation

# Each method of augmentation alone, at a strength that can be seen in a figure.
SHOWN = {
    "rotation": Augmentation(rotation=30),
    "rotation, bicubic": Augmentation(rotation=30, interpolation="bicubic"),
    "shift": Augmentation(shift=4),
    "scale": Augmentation(scale=0.3),
    "shear": Augmentation(shear=0.4),
    "elastic": Augmentation(elastic=2),
    "stroke": Augmentation(stroke=0.9),
    "blur": Augmentation(blur=1),
    "contrast": Augmentation(contrast=1),
    "styles": Augmentation(styles=1),
    "damage": Augmentation(damage=1),
    "hard edges": Augmentation(hard_edges=1),
}


def augmentation_examples(pixels: Tensor, label: int, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """One digit, float32 (28, 28), changed by each augmentation of SHOWN: (count, 28, 28) each.

    The row "none" and that of hard edges hold one. Both rotations have the same angles. Styles change 0, 1, 6, 7 and 9.
    """
    many, labels = pixels.expand(count, 1, *pixels.shape), torch.full((count,), label)
    before = generator.get_state()
    rows = {"none": pixels[None]}
    for name, augmentation in SHOWN.items():
        if name == "rotation, bicubic":
            generator.set_state(before)
        rows[name] = augment(many, augmentation, generator, labels)[:, 0]
    rows["hard edges"] = rows["hard edges"][:1]  # not random
    return rows


def augmentations(rows: Mapping[str, Tensor], title: str) -> Figure:
    """One digit under each augmentation, a row each. rows: name to float (n, 28, 28) in [0, 1], foreground bright."""
    columns = max(len(images) for images in rows.values())
    figure = Figure(figsize=(0.85 * columns + 1.6, 0.85 * len(rows) + 0.7), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for place in axes.flat:
        place.axis("off")
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for place, image in zip(line, images, strict=False):
            tile(place, image * 255)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    figure.suptitle(title, fontsize=13)
    return figure


def corruptions(images: Mapping[str, Tensor], title: str) -> Figure:
    """One digit damaged in each way, two rows of them. images: name to uint8 (28, 28), foreground bright."""
    columns = -(-len(images) // 2)
    figure = Figure(figsize=(1.2 * columns, 3.4), layout="constrained")
    for place, (name, image) in zip(figure.subplots(2, columns).flat, images.items(), strict=True):
        tile(place, image)
        place.set_title(name, fontsize=10)
    figure.suptitle(title, fontsize=13)
    return figure


def accuracy_against_cost(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Test accuracy of each recipe against its training time, both logarithmic, accuracy in the error rate.

    rows: name (str), ours (bool), seconds and accuracies (sequences; fractions). Points are the mean over seeds and the
    median time; bars reach from the lowest to the highest seed.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    rows = sorted(rows, key=lambda row: statistics.median(row["seconds"]))
    ours, published = ([row for row in rows if row["ours"] is whose] for whose in (True, False))
    places = [*zip(ours, _offsets_beside(ours), strict=True), *zip(published, _offsets_below(published), strict=True)]
    for row, (place, side) in places:
        errors = [100 * (1 - accuracy) for accuracy in row["accuracies"]]
        mean, seconds = statistics.mean(errors), statistics.median(row["seconds"])
        colour = RIGHT if row["ours"] else WRONG
        spread = [[mean - min(errors)], [max(errors) - mean]]
        axes.errorbar(seconds, mean, spread, fmt="o" if row["ours"] else "s", color=colour, capsize=4, markersize=8)
        label = f"{row['name']}\n{100 - mean:.2f} % (n = {len(errors)})"
        line = None if row["ours"] else {"arrowstyle": "-", "color": "#BBBBBB", "relpos": (0, 1), "shrinkB": 0}
        height = min(errors) if place[1] > 0 else mean  # above the bar, not across it
        axes.annotate(label, (seconds, height), place, textcoords="offset points", fontsize=9.5, color=QUIET,
                      ha=side, arrowprops=line, bbox={"color": "white", "pad": 1, "alpha": 0.9})  # fmt: skip
    for name, colour, marker in (("published recipes", WRONG, "s"), ("our recipes", RIGHT, "o")):
        axes.plot([], [], color=colour, marker=marker, linestyle="", markersize=8, label=name)
    axes.set(
        xscale="log", xlim=(0.35, 1500), xticks=[1, 3, 10, 30, 100, 300, 1000],
        yscale="log", ylim=(16, 0.15), yticks=[10, 5, 4, 3, 2, 1, 0.5, 0.3, 0.2],
        xlabel="training time, seconds (logarithmic)",
        ylabel="test accuracy, % (logarithmic in the error rate)\nbars: lowest to highest seed",
    )  # fmt: skip
    axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter(lambda error, _: f"{100 - error:g}")
    _open_frame(axes)
    axes.legend(frameon=False, loc="upper left")
    axes.set_title(title, fontsize=13)
    return figure


def _open_frame(axes: Axes, grid: Literal["both", "x"] = "both") -> None:
    """No line above and on the right, and a pale grid."""
    axes.grid(axis=grid, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _offsets_below(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[tuple[int, int], str]]:
    """Label offsets of the published recipes: below the point, lower where others stand close on its right."""
    seconds = [statistics.median(row["seconds"]) for row in rows]
    for here in seconds:
        yield (3, -50 - 30 * sum(here < other < 10 * here for other in seconds)), "left"


def _offsets_beside(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[tuple[int, int], str]]:
    """Label offsets of our recipes, by time: right or left of the point, or above, on alternating sides."""
    points = [(statistics.median(row["seconds"]), 1 - statistics.mean(row["accuracies"])) for row in rows]
    above = itertools.cycle((((8, 5), "right"), ((-8, 5), "left")))
    for here, error in points:
        close = [seconds / here for seconds, other in points if 0.7 < other / error < 1.4 and seconds != here]
        if not any(1 <= ratio < 6 for ratio in close):
            yield (12, -20), "left"
        elif not any(1 / 6 < ratio < 1 for ratio in close):
            yield (-12, -8), "right"
        else:
            yield next(above)


def published_results(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """A strip for each recipe: the test accuracy of every seed, and the published number.

    rows: label and conclusion (str), accuracies (fractions, one per seed), published (a fraction, or None) and interval
    (low, high: the prediction interval of a single run, fractions).
    """
    figure = Figure(figsize=(10, 1.0 + 1.05 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        values = sorted(100 * accuracy for accuracy in row["accuracies"])
        low, high = (100 * end for end in row["interval"])
        axes.barh(place, high - low, 0.5, left=low, color=RIGHT, alpha=0.12)
        # Neighbours have different heights, so that none hides another.
        heights = [place + (number % 5 - 2) * 0.08 for number in range(len(values))]
        axes.plot(values, heights, "o", color=RIGHT, markersize=4, alpha=0.8)
        if row["published"] is not None:
            axes.plot(100 * row["published"], place, marker="D", color=WRONG, markersize=9, linestyle="")
        axes.annotate(row["conclusion"], (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=10)
    axes.plot([], [], "o", color=RIGHT, label="one seed")
    axes.fill_between([], [], color=RIGHT, alpha=0.12, label="95 % of single runs")
    axes.plot([], [], marker="D", color=WRONG, linestyle="", label="published")
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=10)
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy, %")
    _open_frame(axes, "x")
    figure.legend(frameon=False, fontsize=10, loc="outside lower center", ncols=3)
    figure.suptitle(title, fontsize=13)
    return figure


def accuracy_against_epochs(epochs: Sequence[Sequence[float]], published: float | None, title: str) -> Figure:
    """Test accuracy after each epoch: mean over seeds as a line, lowest to highest as a band.

    epochs: for each epoch the accuracies of all seeds, fractions. published: the source's number, a fraction.
    """
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    count = range(1, len(epochs) + 1)
    low, mean, high = ([100 * of(values) for values in epochs] for of in (min, statistics.mean, max))
    axes.fill_between(count, low, high, color=RIGHT, alpha=0.15, label=f"lowest to highest of {len(epochs[0])} seeds")
    axes.plot(count, mean, color=RIGHT, marker="o", label="mean")
    if published is not None:
        axes.axhline(100 * published, color=WRONG, linestyle="--", label=f"published: about {published:.0%}")
    axes.set(xticks=count, xlabel="epoch", ylabel="test accuracy, %")
    _open_frame(axes)
    axes.legend(frameon=False, loc="lower right")
    axes.set_title(title, fontsize=13)
    return figure
