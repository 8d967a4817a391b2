"""Figures from arrays. Never trains, never loads; a caller shows or saves what it gets.

Two colours carry meaning, blue for right and orange for wrong (Okabe and Ito's, told apart by colour-blind eyes),
and what is wrong is also framed. Digits are drawn as ink on paper.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from digit_recognizer.runtime import files
from digit_recognizer.runtime.text import percent

RIGHT, WRONG, QUIET = "#0072B2", "#D55E00", "#555555"
INK = "gray_r"


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, atomically, at the width of a README."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    files.write_atomically(path, buffer.getvalue())


def digits_overview(images: Tensor, labels: Tensor, title: str, rows: int = 5) -> Figure:
    """A column for each digit: how many there are, the mean of them all, and the first few.

    images: uint8 (n, 28, 28), ink bright; labels: int64 (n,).
    """
    figure = Figure(figsize=(9, 0.9 * rows + 2.0), layout="constrained")
    axes = figure.subplots(rows + 1, 10)
    for digit in range(10):
        chosen = images[labels == digit]
        tile(axes[0, digit], chosen.float().mean(0) if len(chosen) else np.zeros((28, 28)))
        axes[0, digit].set_title(f"{digit}\n{len(chosen):,}", fontsize=11)
        for row in range(rows):
            tile(axes[row + 1, digit], chosen[row] if row < len(chosen) else np.zeros((28, 28)))
    for row, label in enumerate(["mean", "examples"]):
        axes[row, 0].set_ylabel(label, fontsize=11, color=QUIET)
    figure.suptitle(
        f"{title}: {len(labels):,} digits, how many of each, their mean, and the first of each", fontsize=13
    )
    return figure


def prediction_grid(
    images: Tensor, labels: Tensor, predicted: Tensor, title: str, shape: tuple[int, int] = (6, 10)
) -> Figure:
    """The first digits of a set with what they are and what they were read as, mistakes framed.

    images: uint8 (n, 28, 28); labels, predicted: int64 (n,). Chosen by index, so that the picture is the same digits
    every time; shape: rows and columns.
    """
    rows, columns = shape
    figure = Figure(figsize=(0.98 * columns, 1.22 * rows + 0.6), layout="constrained")
    tiles = figure.subplots(rows, columns, squeeze=False).flat
    shown = min(rows * columns, len(labels))
    wrong = int((labels[:shown] != predicted[:shown]).sum())
    for index, axes in enumerate(tiles):
        if index >= shown:
            axes.axis("off")
            continue
        truth, guess = int(labels[index]), int(predicted[index])
        tile(axes, images[index], frame=WRONG if truth != guess else None)
        colour = RIGHT if truth == guess else WRONG
        weight = "normal" if truth == guess else "bold"
        axes.set_title(f"true {truth}\nread {guess}", fontsize=10, color=colour, fontweight=weight, pad=3)
    figure.suptitle(f"{title}: the first {shown} digits, {shown - wrong} read right, {wrong} wrong", fontsize=13)
    return figure


def mistakes(images: Tensor, labels: Tensor, logits: Tensor, title: str, shape: tuple[int, int] = (4, 8)) -> Figure:
    """The wrong answers, the most confident first, with confidence and runner-up.

    images: uint8 (n, 28, 28); labels: int64 (n,); logits: float (n, 10).
    """
    rows, columns = shape
    probabilities = logits.softmax(1)
    confidence, predicted = probabilities.max(1)
    wrong = (predicted != labels).nonzero().flatten()
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][: rows * columns]
    rows = max(1, min(rows, -(-len(worst) // columns)))
    figure = Figure(figsize=(1.22 * columns, 1.62 * rows + 0.7), layout="constrained")
    for axes in (tiles := figure.subplots(rows, columns, squeeze=False)).flat:
        axes.axis("off")
    for axes, index in zip(tiles.flat, worst.tolist(), strict=False):
        second = int(probabilities[index].argsort(descending=True)[1])
        axes.axis("on")
        tile(axes, images[index])
        axes.set_title(f"true {int(labels[index])}, read {int(predicted[index])}", fontsize=10, color=WRONG, pad=3)
        caption = (
            f"{percent(float(confidence[index]))} sure\nthen {second}: {percent(float(probabilities[index, second]))}"
        )
        axes.set_xlabel(caption, fontsize=9, color=QUIET, labelpad=2)
    which = f", the {len(worst)} most confident of them" if len(worst) < len(wrong) else ", all of them"
    count, which = (len(wrong), which) if len(wrong) else ("none", "")
    figure.suptitle(f"{title}: {count} of {len(labels):,} digits read wrong{which}", fontsize=13)
    return figure


def reading(image: Tensor, probabilities: Tensor) -> Figure:
    """One digit as the network saw it, uint8 (28, 28), and its ten probabilities, float (10,), as bars."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 2.2])
    tile(left, image)
    left.set_title("what the network saw", fontsize=11)
    best = int(probabilities.argmax())
    bars = right.bar(range(10), probabilities.tolist(), color=[RIGHT if k == best else "#BBBBBB" for k in range(10)])
    right.bar_label(bars, [percent(p) if p >= 0.005 else "" for p in probabilities.tolist()], fontsize=9)
    right.set_xticks(range(10))
    right.set_ylim(0, 1.12)
    right.set_xlabel("digit")
    right.set_ylabel("probability")
    right.spines[["top", "right"]].set_visible(False)
    return figure


def training_curves(history: Sequence[dict[str, Any]], title: str) -> Figure:
    """Loss and accuracy against epochs, of training's history: running values in training, and the held-out part."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = [row["epoch"] for row in history]
    name = history[0]["held_out"]
    for axes, quantity, scale in zip(figure.subplots(1, 2), ("loss", "accuracy"), (1, 100), strict=True):
        lines = (("train", f"train_{quantity}", RIGHT, "o"), (name, f"held_out_{quantity}", WRONG, "s"))
        for label, field, colour, marker in lines:
            label = f"{label} (running)" if label == "train" else label
            values = [np.nan if row[field] is None else row[field] * scale for row in history]
            axes.plot(epochs, values, color=colour, marker=marker if len(epochs) <= 30 else None, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss (nats per digit)" if quantity == "loss" else "accuracy (%)")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)  # one epoch: one tick
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.suptitle(title, fontsize=13)
    return figure


def confusion_matrix(confusion: Tensor, title: str) -> Figure:
    """Counts of true against read digits, int (10, 10); colour shows the mistakes alone, not the diagonal."""
    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    axes = figure.subplots()
    counts = confusion.numpy()
    errors = counts.copy()
    np.fill_diagonal(errors, 0)
    shades = LinearSegmentedColormap.from_list("errors", ["#FFFFFF", WRONG])
    image = axes.imshow(errors, cmap=shades, vmin=0, vmax=max(1, errors.max()))
    for (truth, guess), count in np.ndenumerate(counts):
        if truth == guess:
            axes.text(guess, truth, f"{count:,}", ha="center", va="center", color=RIGHT, fontweight="bold")
        elif count:
            axes.text(guess, truth, f"{count:,}", ha="center", va="center", color="black")
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.set_xlabel("read as")
    axes.set_ylabel("true digit")
    right, total = int(np.trace(counts)), int(counts.sum())
    axes.set_title(f"{title}: {right:,} of {total:,} read right ({right / total:.2%})", fontsize=13)
    figure.colorbar(image, ax=axes, label="mistakes", shrink=0.8)
    return figure


def first_layer(weights: Tensor, title: str, shape: tuple[int, int] = (4, 10)) -> Figure:
    """What units of the first layer look for: blue where they want ink, orange where they want paper.

    weights: float (units, height, width); the units with the largest weights are shown, each scaled to itself.
    """
    rows, columns = shape
    units = weights.flatten(1).norm(dim=1).argsort(descending=True)[: rows * columns]
    rows = -(-len(units) // columns)
    figure = Figure(figsize=(0.98 * columns, 0.98 * rows + 0.8), layout="constrained")
    shades = LinearSegmentedColormap.from_list("weights", [WRONG, "#FFFFFF", RIGHT])
    for axes in (tiles := figure.subplots(rows, columns, squeeze=False)).flat:
        axes.axis("off")
    for axes, unit in zip(tiles.flat, units.tolist(), strict=False):
        picture = weights[unit].numpy()
        limit = float(np.abs(picture).max())
        axes.imshow(picture, cmap=shades, vmin=-limit, vmax=limit)
    heading = f"{title}\nwhat {len(units)} of {len(weights)} first-layer units look for (blue ink, orange paper)"
    figure.suptitle(heading, fontsize=13)
    return figure


def tile(axes: Axes, image: Any, frame: str | None = None) -> None:
    """One digit, without ticks; framed in a colour where one is given."""
    axes.imshow(np.asarray(image), cmap=INK, vmin=0, vmax=255)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(frame or "#CCCCCC")
        spine.set_linewidth(2.5 if frame else 0.5)
