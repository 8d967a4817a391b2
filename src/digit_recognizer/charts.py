"""Figures that compare: the recipes by accuracy and cost, and the ways in which training digits are changed."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from torch import Tensor

from digit_recognizer.plots import QUIET, RIGHT, WRONG, tile


def augmentations(rows: Mapping[str, Tensor], title: str) -> Figure:
    """The same digit changed in each way, a row each. rows: name to float (n, 28, 28) in [0, 1], ink bright."""
    columns = max(len(images) for images in rows.values())
    figure = Figure(figsize=(0.85 * columns + 1.6, 0.85 * len(rows) + 0.7), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for place in axes.flat:
        place.axis("off")
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for place, image in zip(line, images, strict=False):
            place.axis("on")
            tile(place, image * 255)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    figure.suptitle(title, fontsize=13)
    return figure


def accuracy_against_cost(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Every recipe's test accuracy over seeds against the seconds that its training takes.

    rows: name, ours (bool), seconds and accuracies (a sequence, fractions) of each recipe. Both axes are logarithmic,
    accuracy in the share of wrong answers. A point is the mean, the bar reaches from the lowest to the highest seed.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    below = 1 + sum(not row["ours"] for row in rows)
    for row in sorted(rows, key=lambda row: statistics.median(row["seconds"])):
        errors = [100 * (1 - accuracy) for accuracy in row["accuracies"]]
        mean, seconds = statistics.mean(errors), statistics.median(row["seconds"])
        colour = RIGHT if row["ours"] else WRONG
        spread = [[mean - min(errors)], [max(errors) - mean]]
        axes.errorbar(seconds, mean, spread, fmt="o" if row["ours"] else "s", color=colour, capsize=4, markersize=8)
        label = f"{row['name']}\n{100 - mean:.2f} % (n = {len(errors)})"
        # The published stand close together: their names go below, one under the other.
        below -= not row["ours"]
        place = (-12, 14) if row["ours"] else (14, -8 - 30 * below)
        line = None if row["ours"] else {"arrowstyle": "-", "color": "#BBBBBB"}
        axes.annotate(label, (seconds, mean), place, textcoords="offset points", fontsize=9.5, color=QUIET,
                      ha="right" if row["ours"] else "left", arrowprops=line)  # fmt: skip
    for name, colour, marker in (("published recipes", WRONG, "s"), ("ours", RIGHT, "o")):
        axes.plot([], [], color=colour, marker=marker, linestyle="", markersize=8, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(6, 0.15)
    axes.set_xlim(0.8, 600)
    axes.set_xlabel("seconds of training (logarithmic)")
    axes.set_ylabel("test accuracy, % (logarithmic in what is missing)")
    axes.set_yticks([5, 4, 3, 2, 1, 0.5, 0.3, 0.2])
    axes.set_xticks([1, 3, 10, 30, 100, 300])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 - error:g}"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    axes.set_title(title, fontsize=13)
    return figure
